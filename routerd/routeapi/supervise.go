package routeapi

// PathHelp takes POST of Help. A call is supervised by POST of Supervision to
// PathCalls + "/ID/supervise".
const PathHelp = "/v1/help"

// Supervision is what a supervisor wants to do in a talking call.
type Supervision struct {
	Supervisor string `json:"supervisor"` // an agent who may; whose phone is rung first
	// Mode says who hears the supervisor: listen (nobody), whisper (the agent), join
	// (both); none ends it, take gives the call to the supervisor.
	Mode string `json:"mode"`
}

// Help is an agent's help button. It is over when taken back, when a supervisor is
// on the line, and with the call.
type Help struct {
	Agent  string `json:"agent"`
	Asked  bool   `json:"asked"` // false: taken back
	Reason string `json:"reason,omitempty"`
}
