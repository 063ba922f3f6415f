package kernel

import (
	"fmt"
	"math"
)

// Constants of the polynomials; gen/constants.go has the same, and the tests compare what comes out.
const (
	geluClamp  = 4.5      // beyond it the normal distribution function is 0 or 1 to 3.4e-6
	expFloor   = -126     // the least power of two that stays normal
	roundMagic = 12582912 // 1.5 * 2^23: adding and subtracting it rounds to an integer
)

// geluPolynomial gives (F(t) - 1/2) / t for the normal distribution function F, in v = 2 (t/4.5)^2 - 1; fitted by reweighted
// least squares so that t times the error of F is below 3.5e-5.
var geluPolynomial = [...]float32{0.156902, -0.0771725029, 0.054823339, -0.0405492745, 0.027597703, -0.0167621523, 0.0122733852, -0.00931479689, 0.0033134066}

// expPolynomial gives 2^f for f in [-1/2, 1/2], relative error below 2.7e-6.
var expPolynomial = [...]float32{0.9999993, 0.69312185, 0.24024746, 0.055917572, 0.009569927}

// Affine is what turns integer sums of a linear layer into floats: per output channel, padded to 16.
type Affine struct {
	Scale, Bias []float32
}

// steps returns n in steps of 16 lanes. Rows of any other length are a mistake of the caller, which the assembly would not
// survive.
func steps(n int) int {
	if n < Lanes || n%Lanes != 0 {
		panic(fmt.Sprintf("kernel: a row of %d, it must be a multiple of %d", n, Lanes))
	}
	return n / Lanes
}

// Lengths below: a row, or cols where a matrix has rows of its own stride, is a multiple of 16 and not 0; rows is at least 1;
// every other slice is at least as long as what it is combined with. Anything else panics.

// Dequantize sets y[n] = float(c[n] - zero*sums[n]) * (scale*a.Scale[n]) + a.Bias[n] for one row. y and c may be the same memory.
func (s *Set) Dequantize(y []float32, c, sums []int32, a Affine, scale float32, zero int32) {
	n, count := len(y), steps(len(y))
	_, _, _, _ = c[:n], sums[:n], a.Scale[:n], a.Bias[:n]
	if f := s.loops.dequant; f != nil {
		f(&y[0], &c[0], &sums[0], &a.Scale[0], &a.Bias[0], scale, zero, count)
		return
	}
	for i := range y {
		t := float32(scale * a.Scale[i])
		y[i] = float32(float32(c[i]-zero*sums[i])*t) + a.Bias[i]
	}
}

// Spread sets y[i][j] = float(c[i][j]) * scale over rows of cols, in matrices with rows of ldy and ldc.
func (s *Set) Spread(y []float32, ldy int, c []int32, ldc int, scale float32, cols, rows int) {
	count := steps(cols)
	_, _ = y[:(rows-1)*ldy+cols], c[:(rows-1)*ldc+cols]
	if f := s.loops.spread; f != nil {
		f(&y[0], 4*ldy, &c[0], 4*ldc, scale, count, rows)
		return
	}
	for i := range rows {
		for j := range cols {
			y[i*ldy+j] = float32(c[i*ldc+j]) * scale
		}
	}
}

// Bounds returns the least and the greatest of rows of cols in a matrix with rows of ldx.
func (s *Set) Bounds(x []float32, ldx, cols, rows int) (lo, hi float32) {
	count := steps(cols)
	_ = x[:(rows-1)*ldx+cols]
	if f := s.loops.bounds; f != nil {
		return f(&x[0], 4*ldx, count, rows)
	}
	lo, hi = x[0], x[0]
	for i := range rows {
		for _, v := range x[i*ldx:][:cols] {
			lo, hi = min(lo, v), max(hi, v)
		}
	}
	return lo, hi
}

// Gelu sets y = y * F(y), F the normal distribution function (Hendrycks and Gimpel 2016).
func (s *Set) Gelu(y []float32) {
	count := steps(len(y))
	if f := s.loops.gelu; f != nil {
		f(&y[0], count)
		return
	}
	for i, x := range y {
		t := min(max(x, -geluClamp), geluClamp)
		v := float32(float32(t*t)*(2/(geluClamp*geluClamp))) - 1
		y[i] = (float32(horner(geluPolynomial[:], v)*t) + 0.5) * x
	}
}

func horner(coefficients []float32, x float32) float32 {
	last := len(coefficients) - 1
	p := coefficients[last]
	for i := last - 1; i >= 0; i-- {
		p = float32(p*x) + coefficients[i]
	}
	return p
}

// Quantize8 sets dst = clamp(round(x*inv) + zero, 0, 255).
func (s *Set) Quantize8(dst []uint8, x []float32, inv float32, zero int32) {
	count := steps(len(x))
	_ = dst[:len(x)]
	if f := s.loops.quantize8; f != nil {
		f(&dst[0], &x[0], inv, zero, count)
		return
	}
	for i, v := range x {
		dst[i] = uint8(min(max(round(v*inv)+zero, 0), 255))
	}
}

// round rounds to the nearest integer, halves to even.
func round(x float32) int32 { return int32(math.RoundToEven(float64(x))) }

// Quantize16 sets dst[i][j] = round(x[i][j] * inv), saturated, over rows of cols.
func (s *Set) Quantize16(dst []int16, ldd int, x []float32, ldx int, inv float32, cols, rows int) {
	count := steps(cols)
	_, _ = dst[:(rows-1)*ldd+cols], x[:(rows-1)*ldx+cols]
	if f := s.loops.quantize16; f != nil {
		f(&dst[0], 2*ldd, &x[0], 4*ldx, inv, count, rows)
		return
	}
	for i := range rows {
		for j, v := range x[i*ldx:][:cols] {
			dst[i*ldd+j] = saturate16(round(v * inv))
		}
	}
}

func saturate16(v int32) int16 { return int16(min(max(v, math.MinInt16), math.MaxInt16)) }

// Softmax sets p = round(32767 * softmax(c * scale * ln 2)) over the first n scores of one row, from the last 16 of which at
// most 15 are padding; p of the padding is 0. Scores must lie within -2^30 and 2^30. c is overwritten.
func (s *Set) Softmax(p []int16, c []int32, n int, scale float32) {
	count := steps(len(c))
	_ = p[:len(c)]
	if n > len(c) || n <= len(c)-Lanes {
		panic(fmt.Sprintf("kernel: softmax over %d scores in a row of %d", n, len(c)))
	}
	for i := n; i < len(c); i++ {
		c[i] = c[0] // no maximum of its own
	}
	if f := s.loops.softmax; f != nil {
		f(&p[0], &c[0], scale, &tailMasks[len(c)-n], count)
		return
	}
	top := c[0]
	for _, v := range c {
		top = max(top, v)
	}
	exp := make([]float32, len(c))
	var lanes [Lanes]float32
	for i, v := range c {
		if i < n {
			exp[i] = exp2(max(float32(float32(v-top)*scale), expFloor))
		}
		lanes[i%Lanes] += exp[i]
	}
	inv := 32767 / sumLanes(lanes)
	for i, v := range exp {
		p[i] = saturate16(round(v * inv))
	}
}

// tailMasks holds, from element i on, 16 lanes of which the last i are off.
var tailMasks = [2*Lanes - 1]int32{-1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1}

func exp2(x float32) float32 {
	z := x + roundMagic
	f := x - (z - roundMagic)
	return math.Float32frombits(math.Float32bits(horner(expPolynomial[:], f)) + math.Float32bits(z)<<23)
}

// sumLanes adds 16 lanes in the order of the assembly's reduction.
func sumLanes(l [Lanes]float32) float32 {
	for half := Lanes / 2; half > 0; half /= 2 {
		for i := range half {
			l[i] += l[i+half]
		}
	}
	return l[0]
}

// AddNorm sets h to the layer norm of h + y (Ba, Kiros and Hinton 2016): mean and variance over the row, then gain and bias.
func (s *Set) AddNorm(h, y, gain, bias []float32, epsilon float32) {
	n, count := len(h), steps(len(h))
	_, _, _ = y[:n], gain[:n], bias[:n]
	if f := s.loops.addNorm; f != nil {
		f(&h[0], &y[0], &gain[0], &bias[0], epsilon, float32(n), count)
		return
	}
	var sum, square [Lanes]float32
	for i := range h {
		h[i] += y[i]
		sum[i%Lanes] += h[i]
	}
	mean := sumLanes(sum) / float32(n)
	for i := range h {
		d := h[i] - mean
		square[i%Lanes] += float32(d * d)
	}
	r := inverseRoot(sumLanes(square)/float32(n) + epsilon)
	for i := range h {
		h[i] = float32(float32((h[i]-mean)*r)*gain[i]) + bias[i]
	}
}

func inverseRoot(x float32) float32 { return 1 / float32(math.Sqrt(float64(x))) }

// Normalize makes x unit length. A zero vector becomes NaN: the caller's to prevent.
func (s *Set) Normalize(x []float32) {
	count := steps(len(x))
	if f := s.loops.normalize; f != nil {
		f(&x[0], count)
		return
	}
	var square [Lanes]float32
	for i, v := range x {
		square[i%Lanes] += float32(v * v)
	}
	r := inverseRoot(sumLanes(square))
	for i := range x {
		x[i] *= r
	}
}
