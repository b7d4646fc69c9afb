package routeapi

import "time"

// Versions of the routing tree.
//
// PUT PathRouting?base=VERSION&comment=TEXT applies the body, a routing.yaml,
// whole or not at all, and is answered with its ConfigVersion: 422 with every
// fault, 409 when another version than base is in force (no base: whatever is),
// 413 when it is larger than the log takes.
const (
	PathRoutingVersions = "/v1/routing/versions" // []ConfigVersion, oldest first; and /VERSION: its routing.yaml

	HeaderVersion = "X-Trunkline-Version" // with a routing.yaml: which version it is
)

// MaxComment bounds the comment of a version, in bytes.
const MaxComment = 500

// ConfigVersion is a routing tree that was applied. The last one is in force.
type ConfigVersion struct {
	Version uint64    `json:"version"` // 1, 2, ...
	Index   uint64    `json:"index"`   // of the log
	At      time.Time `json:"at"`
	By      string    `json:"by"` // name in the certificate of who applied it
	Comment string    `json:"comment,omitempty"`
	HasText bool      `json:"has_text"` // false: it was applied without its routing.yaml
}
