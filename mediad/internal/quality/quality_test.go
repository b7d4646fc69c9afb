package quality

import (
	"math"
	"testing"
	"time"
)

func TestRatings(t *testing.T) {
	f := func(c Codec, delay time.Duration, loss, r, mos float64, g Grade) {
		t.Helper()
		got := R(c, delay, loss)
		if math.Abs(got-r) > 0.05 || math.Abs(MOS(got)-mos) > 0.005 || GradeOf(MOS(got)) != g {
			t.Errorf("%+v %v %v: R %.2f MOS %.3f %s, want %.2f %.2f %s", c, delay, loss, got, MOS(got), GradeOf(MOS(got)), r, mos, g)
		}
	}
	f(G711, 0, 0, 93.2, 4.41, Good)
	f(G711, 100*time.Millisecond, 0, 90.8, 4.36, Good)
	f(G711, 100*time.Millisecond, 0.01, 87.16, 4.26, Good) // 95 * 1 / 26.1
	f(G711, 400*time.Millisecond, 0, 59.10, 3.05, Bad)     // 9.6 + 0.11 * 222.7
	f(Opus, 50*time.Millisecond, 0, 81.8, 4.09, Good)      // 10.2 + 1.2
	f(Opus, 50*time.Millisecond, 0.02, 54.88, 2.83, Bad)   // 84.8 * 2 / 6.3 more
	f(G711, 0, 1, 17.26, 1.18, Bad)                        // 95 * 100 / 125.1
	f(G711, 5*time.Second, 1, 0, 1, Bad)
	f(G711, 0, -0.1, 93.2, 4.41, Good) // repeats count as less than no loss
	f(G711, 250*time.Millisecond, 0, 79.20, 3.99, Fair)
	f(G711, 250*time.Millisecond, 0.02, 72.19, 3.70, Fair)
	f(G711, 250*time.Millisecond, 0.05, 63.42, 3.275, Poor)
}

// More delay or more loss never sounds better.
func TestRatingsFall(t *testing.T) {
	for _, c := range []Codec{G711, Opus} {
		for d := range 60 {
			for p := range 60 {
				delay, loss := time.Duration(d)*10*time.Millisecond, float64(p)/100
				m := MOS(R(c, delay, loss))
				if m < 1 || m > 4.42 || MOS(R(c, delay+10*time.Millisecond, loss)) > m+1e-9 || MOS(R(c, delay, loss+0.01)) > m+1e-9 {
					t.Fatalf("%+v at %v and %v: %v", c, delay, loss, m)
				}
			}
		}
	}
}
