package node

import (
	"net/http"
	"strings"
	"testing"

	"trunkline/routerd/routeapi"
)

// A tree is applied under the certificate's name, read back with its comments,
// and not overwritten by who did not see it.
func TestRoutingTreesHaveVersions(t *testing.T) {
	rs := newRouters(t, 1)
	rs.says(http.StatusNotFound, "no routing tree", 0, "GET", routeapi.PathRouting, "")
	rs.says(http.StatusOK, `"version":1`, 0, "PUT", routeapi.PathRouting+"?comment=first", oneQueue)
	second := oneQueue + "- {id: bob, queues: [sales]}\n"
	rs.says(http.StatusOK, `"version":2`, 0, "PUT", routeapi.PathRouting+"?base=1&comment=bob", second)

	code, body, head := rs.ask(0, "GET", routeapi.PathRouting, "")
	if code != http.StatusOK || string(body) != second || head.Get(routeapi.HeaderVersion) != "2" {
		t.Errorf("in force: %d, version %q\n%s", code, head.Get(routeapi.HeaderVersion), body)
	}
	rs.says(http.StatusOK, "# the tree of the tests", 0, "GET", routeapi.PathRoutingVersions+"/1", "")
	rs.says(http.StatusNotFound, "versions 1 to 2 are kept", 0, "GET", routeapi.PathRoutingVersions+"/7", "")
	list := get[[]routeapi.ConfigVersion](rs, 0, routeapi.PathRoutingVersions)
	if len(list) != 2 || list[1].By != "ops"+roleOperator || list[1].Comment != "bob" || !list[1].HasText || list[1].At.IsZero() {
		t.Errorf("versions are %+v", list)
	}

	rs.says(http.StatusConflict, "version 2 is in force, not 1: applied by ops"+roleOperator, 0, "PUT", routeapi.PathRouting+"?base=1", oneQueue)
	rs.says(http.StatusUnprocessableEntity, "routing:8: queues[0].musik: unknown key", 0, "PUT", routeapi.PathRouting,
		strings.Replace(oneQueue, "- {id: sales}", "- {id: sales,\n  musik: x}", 1))
	rs.says(http.StatusBadRequest, "comment: ", 0, "PUT", routeapi.PathRouting+"?comment="+strings.Repeat("x", routeapi.MaxComment+1), oneQueue)
	rs.says(http.StatusBadRequest, "base ", 0, "PUT", routeapi.PathRouting+"?base=x", oneQueue)
	rs.says(http.StatusBadRequest, "version ", 0, "GET", routeapi.PathRoutingVersions+"/x", "")
	if list := get[[]routeapi.ConfigVersion](rs, 0, routeapi.PathRoutingVersions); len(list) != 2 {
		t.Errorf("what was refused left %+v", list)
	}
}
