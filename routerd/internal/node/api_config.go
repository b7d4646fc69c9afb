package node

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"slices"
	"strconv"

	"trunkline/raftstore"
	"trunkline/routerd/acd"
	"trunkline/routerd/internal/config"
	"trunkline/routerd/routeapi"
)

// maxTree bounds an uploaded routing.yaml; the log takes less.
const maxTree = 16 << 20

func (n *Node) routeConfig(operator func(pattern string, h http.HandlerFunc)) {
	operator("GET "+routeapi.PathRouting, n.serveRouting)
	operator("PUT "+routeapi.PathRouting, n.applyRouting)
	operator("GET "+routeapi.PathRoutingVersions, n.serveVersions)
	operator("GET "+routeapi.PathRoutingVersions+"/{version}", n.serveVersion)
}

func (n *Node) configs() (list []acd.ConfigVersion) {
	n.view(func(m *acd.Machine) { list = m.Configs() })
	return list
}

func (n *Node) serveRouting(w http.ResponseWriter, _ *http.Request) {
	list := n.configs()
	if len(list) == 0 {
		fail(w, http.StatusNotFound, errors.New("no routing tree was applied yet"))
		return
	}
	replySource(w, list[len(list)-1])
}

func replySource(w http.ResponseWriter, v acd.ConfigVersion) {
	src, err := config.UnpackSource(v.Source)
	if err != nil {
		fail(w, http.StatusNotFound, fmt.Errorf("version %d: %w", v.Version, err))
		return
	}
	w.Header().Set("Content-Type", "application/yaml")
	w.Header().Set(routeapi.HeaderVersion, strconv.FormatUint(v.Version, 10))
	w.Write(src) // the peer going away is its own affair
}

func (n *Node) serveVersions(w http.ResponseWriter, _ *http.Request) {
	out := []routeapi.ConfigVersion{}
	for _, v := range n.configs() {
		out = append(out, versionView(v))
	}
	reply(w, out)
}

func versionView(v acd.ConfigVersion) routeapi.ConfigVersion {
	return routeapi.ConfigVersion{
		Version: v.Version, Index: v.Index, At: wall(v.At), By: v.By, Comment: v.Comment, HasText: len(v.Source) > 0,
	}
}

func (n *Node) serveVersion(w http.ResponseWriter, r *http.Request) {
	version, err := strconv.ParseUint(r.PathValue("version"), 10, 64)
	if err != nil {
		fail(w, http.StatusBadRequest, fmt.Errorf("version %q: want a number", r.PathValue("version")))
		return
	}
	list := n.configs()
	i := slices.IndexFunc(list, func(v acd.ConfigVersion) bool { return v.Version == version })
	switch {
	case i >= 0:
		replySource(w, list[i])
	case len(list) == 0:
		fail(w, http.StatusNotFound, errors.New("no routing tree was applied yet"))
	default:
		fail(w, http.StatusNotFound, fmt.Errorf("no version %d: versions %d to %d are kept", version, list[0].Version, list[len(list)-1].Version))
	}
}

// applyRouting applies a routing tree on behalf of who holds the certificate.
func (n *Node) applyRouting(w http.ResponseWriter, r *http.Request) {
	body := acd.ConfigApplied{By: certName(r), Comment: r.URL.Query().Get("comment")}
	if len(body.Comment) > routeapi.MaxComment {
		fail(w, http.StatusBadRequest, fmt.Errorf("comment: %d bytes, at most %d are kept", len(body.Comment), routeapi.MaxComment))
		return
	}
	if s := r.URL.Query().Get("base"); s != "" {
		var err error
		if body.Base, err = strconv.ParseUint(s, 10, 64); err != nil {
			fail(w, http.StatusBadRequest, fmt.Errorf("base %q: want a version", s))
			return
		}
	}
	src, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxTree))
	if err != nil {
		fail(w, http.StatusRequestEntityTooLarge, err)
		return
	}
	if body.Config, err = config.ParseRouting("routing", src); err != nil {
		fail(w, http.StatusUnprocessableEntity, err)
		return
	}
	body.Source = config.PackSource(src)
	res, ok := n.proposeFor(w, r, body)
	if !ok {
		return
	}
	list := n.configs()
	if !res.Applied {
		fail(w, http.StatusConflict, n.configRefused(res, body.Base, list))
		return
	}
	i := slices.IndexFunc(list, func(v acd.ConfigVersion) bool { return v.Version == res.Version })
	if i < 0 { // others were applied since, and it is forgotten
		reply(w, routeapi.ConfigVersion{Version: res.Version, By: body.By, Comment: body.Comment})
		return
	}
	reply(w, versionView(list[i]))
}

func (n *Node) configRefused(res acd.Result, base uint64, list []acd.ConfigVersion) error {
	if base == 0 || res.Version == base {
		return fmt.Errorf("refused: %s", res.Reason)
	}
	for _, v := range list {
		if v.Version == res.Version {
			return fmt.Errorf("refused: version %d is in force, not %d: applied by %s at %s: %q: look at the difference and apply again",
				v.Version, base, v.By, wall(v.At).Format("2006-01-02 15:04:05 UTC"), v.Comment)
		}
	}
	return fmt.Errorf("refused: version %d is in force, not %d: look at the difference and apply again", res.Version, base)
}

// certName is who asks.
func certName(r *http.Request) string {
	cert := r.TLS.PeerCertificates[0]
	if cert.Subject.CommonName == "" && len(cert.DNSNames) > 0 {
		return cert.DNSNames[0]
	}
	return cert.Subject.CommonName
}

// firstRouting is the tree of the daemon's file, for an empty cluster.
func (n *Node) firstRouting() (acd.ConfigApplied, error) {
	src, err := os.ReadFile(n.conf.Routing)
	if err != nil {
		return acd.ConfigApplied{}, fmt.Errorf("read routing: %w", err)
	}
	tree, err := config.ParseRouting(n.conf.Routing, src)
	if err != nil {
		return acd.ConfigApplied{}, err
	}
	return acd.ConfigApplied{
		Config: tree, IfNone: true, Source: config.PackSource(src), By: n.conf.Node, Comment: "first tree, from " + n.conf.Routing,
	}, nil
}

// tooLarge tells whether a proposal is more than the log takes, and what to do.
func tooLarge(err error) (error, bool) {
	if !errors.Is(err, raftstore.ErrTooLarge) {
		return nil, false
	}
	return fmt.Errorf("%w: at most %d go through the log at once, compressed: is a routing tree that large needed?", err, raftstore.MaxCommand), true
}
