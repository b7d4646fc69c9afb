package scenarios

import (
	"encoding/hex"
	"fmt"
	"net/netip"
	"os"
	"slices"
	"strings"
)

// bound says whether a socket of this machine listens at an IPv4 address: the
// kernel's own table is asked, since connecting would be a message to SIPp.
func bound(network, addr string) (bool, error) {
	at, err := netip.ParseAddrPort(addr)
	if err != nil {
		return false, fmt.Errorf("%q is not an address: %w", addr, err)
	}
	table, err := os.ReadFile("/proc/net/" + network)
	if err != nil {
		return false, fmt.Errorf("read the open ports: %w", err)
	}
	ip := at.Addr().As4()
	slices.Reverse(ip[:]) // the kernel prints the word as it lies in memory, on the little-endian machines there are
	want := fmt.Sprintf("%s:%04X", strings.ToUpper(hex.EncodeToString(ip[:])), at.Port())
	const tcpListen = "0A"
	for line := range strings.Lines(string(table)) {
		f := strings.Fields(line)
		if len(f) > 3 && f[1] == want && (network != "tcp" || f[3] == tcpListen) {
			return true, nil
		}
	}
	return false, nil
}
