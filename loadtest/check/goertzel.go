package check

import "math"

// ToneShare is the share (0 to 1) of the samples' energy that lies at freq Hz,
// by Goertzel's algorithm. A pure sine gives nearly 1 when the samples hold
// many of its periods; silence gives 0.
func ToneShare(samples []int16, rate, freq int) float64 {
	if len(samples) == 0 {
		return 0
	}
	coeff := 2 * math.Cos(2*math.Pi*float64(freq)/float64(rate))
	var s1, s2, energy float64
	for _, v := range samples {
		x := float64(v)
		s1, s2 = x+coeff*s1-s2, s1
		energy += x * x
	}
	if energy == 0 {
		return 0
	}
	power := s1*s1 + s2*s2 - coeff*s1*s2
	return min(1, 2*power/(float64(len(samples))*energy))
}
