package dataset

import "math"

// fromFloat16 returns the value of an IEEE 754 half, which float32 holds exactly; a NaN keeps its sign and payload.
func fromFloat16(h uint16) float32 {
	sign := uint32(h&0x8000) << 16
	rest := uint32(h&0x7fff) << 13 // exponent and fraction, where float32 has them
	if h&0x7c00 == 0x7c00 {
		return math.Float32frombits(sign | 0x7f800000 | rest)
	}
	// The exponents differ in their bias by 127 - 15 = 112, and a product with 2^112 is right for subnormal halves too.
	value := math.Float32frombits(rest) * 0x1p112
	return math.Float32frombits(sign | math.Float32bits(value))
}

// toFloat16 rounds to the nearest half, of two equally near ones to the even one. From 65,520 on that is infinity.
func toFloat16(f float32) uint16 {
	b := math.Float32bits(f)
	sign, b := uint16(b>>16)&0x8000, b&0x7fffffff
	switch {
	case b > 0x7f800000: // NaN; one whose payload lies in the lower bits only stays a NaN
		h := uint16(b>>13) & 0x3ff
		if h == 0 {
			h = 0x200
		}
		return sign | 0x7c00 | h
	case b >= 0x477ff000: // 65,520
		return sign | 0x7c00
	case b < 0x38800000: // under 2^-14, the smallest normal half: whole steps of 2^-24, which adding 0.5 rounds to
		return sign | uint16(math.Float32bits(math.Float32frombits(b)+0.5)-0x3f000000)
	}
	// 13 bits of fraction go. A carry out of the fraction goes into the exponent, as it should.
	even := b >> 13 & 1
	return sign | uint16((b+0xfff+even)>>13-112<<10)
}
