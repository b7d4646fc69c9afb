package routeapi

// PathPeerFacts answers GET, for routers only, with a page of this router's
// facts behind ?after=INDEX, in CBOR: a router whose own file ends before the
// state's tail copies from another.
const PathPeerFacts = "/v1/peer/facts"

// PathFactsDigest answers GET ?after=INDEX&upto=INDEX with a FactsDigest. Equal
// ranges of two routers' files have equal digests.
const PathFactsDigest = "/v1/facts-digest"

// FactsDigest is over what one router's file holds of a range of log indexes.
type FactsDigest struct {
	Node    string `json:"node"`
	Floor   uint64 `json:"floor"`   // facts up to here have expired
	Cursor  uint64 `json:"cursor"`  // facts up to here are in the file
	After   uint64 `json:"after"`   // the range: above After
	Upto    uint64 `json:"upto"`    // and up to Upto, lower than asked where there is too much or no more
	Facts   int    `json:"facts"`   // how many it has there
	Records int    `json:"records"` // and how many detail records of calls, legs and agents
	SHA256  string `json:"sha256"`  // over all of them
}
