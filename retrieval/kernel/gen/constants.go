package main

// These must equal the constants of the Go twins in ../rows.go; the tests of package kernel compare the results.
const (
	geluClamp  = 4.5
	expFloor   = -126
	roundMagic = 12582912 // 1.5 * 2^23: adding and subtracting it rounds to an integer
)

var geluPolynomial = []float32{0.156902, -0.0771725029, 0.054823339, -0.0405492745, 0.027597703, -0.0167621523, 0.0122733852, -0.00931479689, 0.0033134066}

var expPolynomial = []float32{0.9999993, 0.69312185, 0.24024746, 0.055917572, 0.009569927}
