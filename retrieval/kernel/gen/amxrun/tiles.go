//go:build linux && amd64

package main

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"syscall"
)

const (
	mostRows  = 16
	mostBytes = 64
)

// tile is one register: rows of width bytes, those behind it zero.
type tile struct {
	rows, width int
	data        [mostRows][mostBytes]byte
}

// tiles is the state of a thread.
type tiles struct {
	configured bool
	tile       [8]tile
}

type memory interface {
	io.ReaderAt
	io.WriterAt
}

var errUnknown = errors.New("not an instruction on tiles that is known here")

// step does one instruction and returns its length. All have the three-byte prefix of VEX with opcode map 2: c4 e2, then vvvv inverted and pp.
func (s *tiles) step(code [6]byte, regs *syscall.PtraceRegs, m memory) (int, error) {
	if code[0] != 0xc4 || code[1] != 0xe2 || code[2]&0x84 != 0 { // W and L are 0
		return 0, errUnknown
	}
	prefix, source, op, modrm := code[2]&3, ^code[2]>>3&15, code[3], code[4]
	mod, reg, rm := modrm>>6, modrm>>3&7, modrm&7
	switch {
	case op == 0x5e && mod == 3 && source < 8:
		return 5, s.multiply(prefix, &s.tile[reg], &s.tile[rm], &s.tile[source])
	case source != 0:
		return 0, errUnknown
	case op == 0x49 && prefix == 0 && modrm == 0xc0:
		*s = tiles{}
		return 5, nil
	case op == 0x49 && prefix == 3 && mod == 3 && rm == 0:
		s.tile[reg].data = [mostRows][mostBytes]byte{}
		return 5, s.valid(&s.tile[reg])
	case op == 0x49 && prefix == 0 && modrm == 0:
		return 5, s.configure(regs.Rax, m)
	case op == 0x4b && (prefix == 2 || prefix == 3) && mod == 0 && rm == 4:
		return 6, s.move(prefix == 2, &s.tile[reg], code[5], regs, m)
	}
	return 0, errUnknown
}

func (s *tiles) valid(of ...*tile) error {
	for _, t := range of {
		if !s.configured || t.rows == 0 || t.width == 0 {
			return errors.New("a tile without a shape")
		}
	}
	return nil
}

// configure is LDTILECFG.
func (s *tiles) configure(from uint64, m memory) error {
	var c [64]byte
	if _, err := m.ReadAt(c[:], int64(from)); err != nil {
		return err
	}
	if c[0] != 1 || c[1] != 0 {
		return fmt.Errorf("palette %d, start row %d", c[0], c[1])
	}
	*s = tiles{configured: true}
	for i := range 16 {
		width, rows := int(binary.LittleEndian.Uint16(c[16+2*i:])), int(c[48+i])
		if width > mostBytes || rows > mostRows || (width == 0) != (rows == 0) || i >= len(s.tile) && rows > 0 {
			return fmt.Errorf("tile %d of %d rows of %d bytes", i, rows, width)
		}
		if i < len(s.tile) {
			s.tile[i].rows, s.tile[i].width = rows, width
		}
	}
	for _, b := range append(c[2:16:16], c[56:]...) {
		if b != 0 {
			return errors.New("reserved bytes of a shape that are not 0")
		}
	}
	return nil
}

// move is TILELOADD and, with store, TILESTORED: rows lie an index, times a scale, apart.
func (s *tiles) move(store bool, t *tile, sib byte, regs *syscall.PtraceRegs, m memory) error {
	if err := s.valid(t); err != nil {
		return err
	}
	general := [8]uint64{regs.Rax, regs.Rcx, regs.Rdx, regs.Rbx, regs.Rsp, regs.Rbp, regs.Rsi, regs.Rdi}
	base, index := sib&7, sib>>3&7
	if base == 5 || index == 4 {
		return errUnknown
	}
	if !store {
		t.data = [mostRows][mostBytes]byte{}
	}
	for r := range t.rows {
		at, row := int64(general[base]+uint64(r)*(general[index]<<(sib>>6))), t.data[r][:t.width]
		var err error
		if store {
			_, err = m.WriteAt(row, at)
		} else {
			_, err = m.ReadAt(row, at)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// multiply is TDPBSSD, TDPBSUD, TDPBUSD, TDPBUUD: c += a . b, a in rows, b in lines of four bytes of each column.
func (s *tiles) multiply(prefix byte, c, a, b *tile) error {
	if err := s.valid(c, a, b); err != nil {
		return err
	}
	if c == a || c == b || a == b || c.rows != a.rows || c.width != b.width || a.width != 4*b.rows {
		return fmt.Errorf("a product of shapes %dx%d, %dx%d, %dx%d", c.rows, c.width, a.rows, a.width, b.rows, b.width)
	}
	signedA, signedB := prefix == 2 || prefix == 3, prefix == 1 || prefix == 3
	for r := range a.rows {
		for n := 0; n < c.width; n += 4 {
			sum := binary.LittleEndian.Uint32(c.data[r][n:])
			for k := range a.width {
				sum += uint32(extend(a.data[r][k], signedA) * extend(b.data[k/4][n+k%4], signedB))
			}
			binary.LittleEndian.PutUint32(c.data[r][n:], sum)
		}
	}
	return nil
}

func extend(b byte, signed bool) int32 {
	if signed {
		return int32(int8(b))
	}
	return int32(b)
}
