package routeapi

// Members of the replicated log, through any router.
//
//	GET    PathMembers              []Member
//	POST   PathMembers              AddMember: joins without a vote
//	POST   PathMembers/ID/promote   gives it the vote
//	DELETE PathMembers/ID           ?force=true: fewer than three voters may remain
//	POST   PathTransfer             Transfer: gives leadership away
//	GET    PathBackup               the stream of a backup, see raftstore
//
// 404: no such member. 409: a guard refuses. 503: no leader.
const (
	PathMembers  = "/v1/cluster/members"
	PathTransfer = "/v1/cluster/transfer"
	PathBackup   = "/v1/cluster/backup"
	PathState    = "/v1/cluster/state" // GET ?at=INDEX, one to come: State
)

// State is the hash of one router's state at an index: equal index, equal hash.
type State struct {
	Node  string `json:"node"`
	Index uint64 `json:"index"` // of the last command in it, or above
	Hash  string `json:"state_hash"`
}

// Member is a router as the replicated log knows it.
type Member struct {
	ID     string `json:"id"`
	Addr   string `json:"addr"` // host:port of its log
	Voter  bool   `json:"voter"`
	Leader bool   `json:"leader"`
}

// AddMember names a router that runs, with an empty log, at an address.
type AddMember struct {
	ID   string `json:"id"`
	Addr string `json:"addr"`
}

// Transfer names who is to lead; empty: who is furthest.
type Transfer struct {
	To string `json:"to,omitempty"`
}
