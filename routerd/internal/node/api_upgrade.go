package node

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"

	"trunkline/routerd/acd"
	"trunkline/routerd/routeapi"
)

func (n *Node) routeUpgrade(operator func(pattern string, h http.HandlerFunc)) {
	operator("POST "+routeapi.PathActivate, n.serveActivate)
}

// serveActivate activates a version of behaviour that every live router knows.
// The machine asks the same once more; here it is asked to say who does not.
func (n *Node) serveActivate(w http.ResponseWriter, r *http.Request) {
	var want routeapi.Activate
	if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, 4096)).Decode(&want); err != nil {
		fail(w, http.StatusBadRequest, fmt.Errorf("activate: %w", err))
		return
	}
	var old []string
	var active uint32
	n.view(func(m *acd.Machine) {
		active = m.Version()
		for _, peer := range m.Nodes() {
			if peer.Alive && peer.Version < want.Version {
				old = append(old, fmt.Sprintf("%s knows %d", peer.ID, peer.Version))
			}
		}
	})
	switch {
	case want.Version < active:
		fail(w, http.StatusConflict, fmt.Errorf("version %d is active: there is no way back to %d", active, want.Version))
	case len(old) > 0:
		fail(w, http.StatusConflict, fmt.Errorf("not every live router knows version %d: %s: run a newer routerd there first", want.Version, strings.Join(old, ", ")))
	default:
		n.commitFor(w, r, acd.Activated{Version: want.Version})
	}
}
