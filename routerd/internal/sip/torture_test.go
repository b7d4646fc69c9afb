package sip

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// torture is what becomes of each message of RFC 4475: accepted, a refusal, or
// dropped where nothing can or may be answered.
var torture = map[string]string{
	// 3.1.1 valid messages
	"wsinv": "accepted INVITE", "intmeth": "501", "esc01": "accepted INVITE", "escnull": "accepted REGISTER",
	"esc02": "501", "lwsdisp": "accepted OPTIONS", "longreq": "accepted INVITE", "dblreq": "accepted REGISTER",
	"semiuri": "accepted OPTIONS", "transports": "accepted OPTIONS", "mpart01": "405",
	"unreason": "accepted 200", "noreason": "accepted 100",
	// 3.1.2 invalid messages
	"badinv01": "dropped", "clerr": "400", "ncl": "400", "scalar02": "400", "scalarlg": "dropped",
	"quotbal": "400", "ltgtruri": "400", "lwsruri": "400", "lwsstart": "400", "trws": "400", "escruri": "400",
	"baddate":  "accepted INVITE", // Date is nothing we act on
	"regbadct": "400", "badaspec": "400", "baddn": "400", "badvers": "505",
	"mismatch01": "400", "mismatch02": "400", "bigcode": "dropped",
	// 3.2 transaction layer
	"badbranch": "400",
	// 3.3 application layer
	"insuf": "dropped", "unkscm": "416", "novelsc": "416",
	"unksm2": "accepted REGISTER", // the registrar answers 404, see TestRegisterRefusals
	"bext01": "420", "invut": "415",
	"regaut01": "accepted REGISTER", // the authenticator answers 401
	"multi01":  "400", "mcl01": "400", "bcast": "accepted 200", "zeromf": "483",
	"cparam01": "accepted REGISTER", "cparam02": "accepted REGISTER", "regescrt": "accepted REGISTER",
	"sdp01": "406",
	// 3.4 backward compatibility: no Contact in its INVITE
	"inv2543": "400",
}

func outcome(data []byte) string {
	msg, err := Parse(data)
	var bad *Malformed
	switch {
	case errors.As(err, &bad) && bad.Request == nil:
		return "dropped"
	case errors.As(err, &bad):
		return fmt.Sprint(bad.Code)
	}
	switch m := msg.(type) {
	case *Request:
		if ref := Validate(m, Policy{}); ref != nil {
			return fmt.Sprint(ref.Code)
		}
		return "accepted " + m.Method
	case *Response:
		return fmt.Sprintf("accepted %d", m.Code)
	}
	return "nothing"
}

func TestTortureMessages(t *testing.T) {
	files, err := filepath.Glob("testdata/rfc4475/*.dat")
	if err != nil || len(files) != len(torture) {
		t.Fatalf("%d messages, %d outcomes: %v", len(files), len(torture), err)
	}
	for _, f := range files {
		data, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		name := strings.TrimSuffix(filepath.Base(f), ".dat")
		if got := outcome(data); got != torture[name] {
			t.Errorf("%s: %s, want %s", name, got, torture[name])
		}
	}
}
