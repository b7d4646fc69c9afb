package node

import (
	"slices"
	"strings"

	"trunkline/routerd/acd"
	"trunkline/routerd/internal/config"
	"trunkline/routerd/internal/sip"
)

// maxRedirects bounds how often one dialled call is sent on by 3xx.
const maxRedirects = 5

// redirected follows a 3xx to a dialled number, where the configuration says so:
// its targets' numbers are called over the trunks the first was meant for, by
// the host of no target. Who was asked before is not asked again, so that no
// loop can be made. An agent's phone that redirects has declined: the call
// stays with its queue.
func (a *actor) redirected(id acd.LegID, e sip.Failed) bool {
	r, ok := a.rings[id]
	if !ok || a.cancelled[id] || e.Code < 300 || e.Code >= 400 || r.dial.Number == "" {
		return false
	}
	if a.n.conf.SIP.Dialogs.Complete().Redirects != config.RedirectsFollow {
		return false
	}
	var ways []way
	for _, uri := range e.Contacts {
		number := numberOf(uri)
		if number == "" || slices.Contains(r.asked, number) || len(r.asked) > maxRedirects {
			continue
		}
		r.asked = append(r.asked, number)
		onward := r.dial
		onward.Number = number
		onward.Diverted = append(slices.Clone(r.dial.Diverted), r.dial.Number)
		more, _ := a.n.trunkWays(r.id, onward)
		ways = append(ways, more...)
	}
	if len(ways) == 0 {
		a.n.log.Info("a redirection leads nowhere", "call_id", a.call, "leg", id, "code", e.Code)
		return false
	}
	redirects.Inc()
	r.ways = append(r.ways[:r.next:r.next], ways...) // whoever was left of the first number is not it
	r.rang = false
	a.rings[id] = r
	return a.ringNext(id)
}

// numberOf is the telephone number a redirection names, "" if it names none.
func numberOf(uri string) string {
	u, err := sip.ParseURI(uri)
	if err != nil || u.Scheme != "sip" && u.Scheme != "sips" && u.Scheme != "tel" {
		return ""
	}
	number, _, _ := strings.Cut(u.User, ";") // parameters of a tel: URI as user part
	digits := strings.TrimPrefix(strings.NewReplacer("-", "", ".", "", "(", "", ")", "").Replace(number), "+")
	if len(digits) < 3 || len(digits) > 15 || strings.Trim(digits, "0123456789") != "" {
		return ""
	}
	if strings.HasPrefix(number, "+") {
		return "+" + digits
	}
	return digits
}
