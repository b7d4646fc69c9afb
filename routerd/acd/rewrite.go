package acd

import "strings"

// NumberRule rewrites a number that matches: Strip characters are taken off its
// front and Prepend is put there. In Match a digit or + stands for itself, X for
// any digit, and * at the end for any digits that follow, none included:
// 8XXXXXXXXXX with strip 1 and prepend +7 makes 84951234567 into +74951234567.
type NumberRule struct {
	Match   string `cbor:"1,keyasint" yaml:"match"`
	Strip   int    `cbor:"2,keyasint,omitempty" yaml:"strip"`
	Prepend string `cbor:"3,keyasint,omitempty" yaml:"prepend"`
}

// Bounds of number rules.
const (
	maxNumberRules = 64 // of one trunk, each way
	maxNumber      = 32 // characters of a pattern or of what is prepended
)

func (r *NumberRule) matches(number string) bool {
	fixed, open := strings.CutSuffix(r.Match, "*")
	if len(number) < len(fixed) || len(number) > len(fixed) && !open {
		return false
	}
	for i := range len(fixed) {
		if fixed[i] != number[i] && !(fixed[i] == 'X' && isDigit(number[i])) {
			return false
		}
	}
	return strings.Trim(number[len(fixed):], "0123456789") == ""
}

func isDigit(c byte) bool { return c >= '0' && c <= '9' }

// rewrite follows the first rule that matches.
func rewrite(rules []NumberRule, number string) string {
	for i := range rules {
		if r := &rules[i]; r.matches(number) {
			return r.Prepend + number[r.Strip:]
		}
	}
	return number
}

// Inward is a number the trunk's SBC wrote in the form this tree has it in.
func (t *Trunk) Inward(number string) string { return rewrite(t.NumbersIn, number) }

// Outward is a number in the form the trunk's SBC wants.
func (t *Trunk) Outward(number string) string { return rewrite(t.NumbersOut, number) }

func (t *Trunk) digest(d *digest) {
	if t.Refer {
		d.text("refer", string(t.ID))
	}
	if t.Rate+t.Burst+t.Priority+t.Weight != 0 {
		d.text("trunk", string(t.ID))
		d.num(uint64(t.Rate), uint64(t.Burst), uint64(t.Priority), uint64(t.Weight))
	}
	if len(t.Codecs) > 0 {
		d.texts(t.Codecs)
	}
	t.Quality.digest(d)
	for _, rules := range [][]NumberRule{t.NumbersIn, t.NumbersOut} {
		if len(rules) == 0 {
			continue
		}
		d.list(len(rules), func(i int) {
			d.text(rules[i].Match, rules[i].Prepend)
			d.num(uint64(rules[i].Strip))
		})
	}
}
