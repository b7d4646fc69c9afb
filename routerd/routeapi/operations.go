package routeapi

// Paths of what operators do, POST. A call is transferred by POST of a CallTransfer to
// PathCalls + "/ID/transfer".
const (
	PathWrapUp   = "/v1/wrap-up"          // WrapUp
	PathActivate = "/v1/cluster/activate" // Activate
)

// WrapUp moves the end of an agent's wrap-up.
type WrapUp struct {
	Agent     string  `json:"agent"`
	Remaining float64 `json:"remaining"` // seconds from now; 0 ends it; bounded by what the queue allows
}

// CallTransfer gives a call away: exactly one of Queue, ToAgent, Chain and Number.
type CallTransfer struct {
	Agent   string `json:"agent"` // who talks with it
	Queue   string `json:"queue,omitempty"`
	ToAgent string `json:"to_agent,omitempty"`
	Chain   string `json:"chain,omitempty"`
	Number  string `json:"number,omitempty"` // E.164, over the outbound trunks
	Reason  string `json:"reason,omitempty"` // who calls and why, for the far agent's card
}

// Activate asks for a version of behaviour.
type Activate struct {
	Version uint32 `json:"version"`
}
