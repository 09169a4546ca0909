package fuzz

import (
	"math/rand/v2"
	"strconv"
	"syscall"

	"pmemlab/fuzz/model"
)

// How the texts of an input lie in its bytes: a byte below 0x80 is itself, others are a
// piece of text, and the last ones are not text. So what matters is a byte away.
const (
	byteNext   = 0xff // the next attribute
	byteAbsent = 0xfe // no text: the attribute is absent
	byteDenied = 0xfd // no text: only root may read it
	byteBroken = 0xfc // no text: reading fails
)

// sysfsPieces are what the bytes from 0x80 on stand for.
var sysfsPieces = [...]string{
	"\n", "\r\n", "\x80", "\xff\xfe", "18446744073709551615", "18446744073709551616", "9223372036854775807", "9223372036854775808",
	"4294967295", "4294967296", "2147483647", "2147483648", "18014398509481983", "18014398509481984", "36028797018963967", "36028797018963968",
	"65535", "65536", "4096", "2048", "8192", "2097152", "1073741824", "16777216", "32768", "99999999999999999999", "00000000000000000000", "184467440737095516150",
	"0x", "0xffffffffffffffff", "0x10000000000000000", "0x7fffffffffffffff", "0x8000000000000000", "0x180000000", "0x180200000", "0b1", "0o7", "1_0",
	"cpu_cache", "memory_controller", "unknown", "cpu_caches", "region", "region0", "region1", "region12", "/", "../", "../../", "./",
	"nmem0", "nmem1", "nmem2", "nmem3", "nmem4", "nmem0,0,17179869184,0", ",", "dax", "dax0.0", "namespace0.0", "pmem0", "block/",
	"../../" + daxPlace + "/dax0.0", "../../" + diskPlace, "../../" + partPlace, "../../../../bus/dax", "../../../../bus/pci",
	"8089-a2-1837-00000b3f", " ", "  ", "\t", "-", "+", "-1", "-2147483648", "-2147483649", "0 1\n", "0 8\n", "8 8\n", "2048 8\n",
	"9007199254740992", "4503599627370495", "1 18014398509481982\n", "0 18014398509481983\n",
}

// decode makes the texts of an input.
func (i *sysfsInstance) decode(input []byte) {
	i.text, i.sections = i.text[:0], i.sections[:0]
	if len(input) == 0 {
		return
	}
	var ends [16]int
	var errnos [16]syscall.Errno
	n := 0
	for _, b := range input {
		switch {
		case b < 0x80:
			i.text = append(i.text, b)
		case b == byteNext:
			if n == len(ends)-1 {
				break
			}
			ends[n] = len(i.text)
			n++
		case b == byteAbsent:
			errnos[n] = syscall.ENOENT
		case b == byteDenied:
			errnos[n] = syscall.EACCES
		case b == byteBroken:
			errnos[n] = syscall.EIO
		default:
			i.text = append(i.text, sysfsPieces[int(b-0x80)%len(sysfsPieces)]...)
		}
	}
	ends[n] = len(i.text)
	text, from := string(i.text), 0
	for k := range n + 1 {
		i.sections = append(i.sections, model.Attr{Text: text[from:ends[k]], Errno: errnos[k]})
		from = ends[k]
	}
}

// The kinds of text that the attributes of a question have.
const (
	wordsOfNumber = iota
	wordsOfAddress
	wordsOfCount // of 32 bits, with a sign
	wordsOfList
	wordsOfDomain
	wordsOfLink
	wordsOfMappings // how many
	wordsOfMapping
	wordsOfAnything
	wordsOfPower // of two
)

// sysfsTexts are the kinds of text of each question, in the order of its attributes.
var sysfsTexts = [len(questions)][]byte{
	{wordsOfNumber}, {wordsOfPower}, {wordsOfCount},
	{wordsOfCount, wordsOfCount, wordsOfCount, wordsOfCount, wordsOfMappings, wordsOfMapping, wordsOfMapping},
	{wordsOfAnything, wordsOfAnything, wordsOfAnything, wordsOfAnything, wordsOfMappings, wordsOfMapping, wordsOfMapping},
	{wordsOfDomain, wordsOfDomain, wordsOfDomain, wordsOfLink},
	{wordsOfLink}, {wordsOfLink, wordsOfLink}, {wordsOfLink, wordsOfLink},
	{wordsOfList, wordsOfAddress, wordsOfAnything},
	{wordsOfList, wordsOfAddress, wordsOfAddress, wordsOfAddress},
	{wordsOfAnything},
}

// sysfsMix is how often each question is asked. What takes longer is asked less often.
var sysfsMix = [64]byte{
	0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1,
	2, 2, 2, 2, 2, 2, 3, 3, 3, 3, 4, 5, 5, 5, 5, 5, 5, 5, 6, 6, 6, 6, 6, 6, 7, 7, 8, 9, 9, 10, 10, 11,
}

// sysfsInputBytes makes an input: mostly what a kernel says, with a byte of it changed.
func sysfsInputBytes(r *rand.Rand) []byte {
	bits := r.Uint64()
	question := sysfsMix[bits%64]
	b := make([]byte, 2, 48)
	b[0], b[1] = question, byte(bits>>8)
	kinds := sysfsTexts[question]
	// Mostly the first attribute alone.
	n := 1
	if bits>>16&3 == 0 {
		n += int(bits>>18&7) % len(kinds)
	}
	if smallPage(b[1]) && kinds[0] == wordsOfList { // a list that ends about where a page does
		for end := 2 + 62 + int(bits>>20&3); len(b) < end; {
			b = appendList(b, r.Uint64()|1)
			b = b[:min(len(b), end)]
		}
		return b
	}
	for k := range n {
		if k > 0 {
			b = append(b, byteNext)
			bits = r.Uint64()
		}
		from := len(b)
		b = appendText(b, r, kinds[k])
		switch bits >> 24 & 15 {
		case 0, 1, 2: // one byte changed
			if len(b) > from {
				b[from+int(bits>>32&0xff)%(len(b)-from)] = byte(bits >> 40)
			}
		case 3: // one byte more
			b = append(b, byte(bits>>40))
		case 4: // one byte less
			b = b[:max(from, len(b)-1)]
		}
	}
	return b
}

// smallPage is whether a variant has pages of 64 bytes, where bad blocks are asked for. No
// machine has them, but so the end of a list is near.
func smallPage(variant byte) bool { return variant&0x38 == 0x38 }

// interesting are numbers beside which bugs live.
var interesting = [16]uint64{
	0, 1, 10, 512, 4096, 2 * mib, 16 * mib, 1 << 30, 1 << 31, 1 << 32, 0x180000000, 1 << 54, 1 << 55, 1 << 62, 1 << 63, 1<<64 - 1,
}

// nearNumber is an interesting number, or one or so beside it.
func nearNumber(bits uint64) uint64 {
	return interesting[bits&15] + [4]uint64{0, 0, 1, 1<<64 - 1}[bits>>4&3]
}

// appendText appends a text of a kind.
func appendText(b []byte, r *rand.Rand, kind byte) []byte {
	bits := r.Uint64()
	switch kind {
	case wordsOfNumber:
		b = strconv.AppendUint(b, nearNumber(bits), 10)
	case wordsOfPower:
		n := uint64(1) << (bits & 63)
		if bits>>8&7 == 0 {
			n = nearNumber(bits >> 16)
		}
		b = strconv.AppendUint(b, n, 10)
	case wordsOfAddress:
		if bits&0x40 == 0 {
			b = append(b, '0', 'x')
			b = strconv.AppendUint(b, nearNumber(bits), 16)
		} else {
			b = strconv.AppendUint(b, nearNumber(bits), 10)
		}
	case wordsOfCount:
		b = strconv.AppendInt(b, int64(int32(nearNumber(bits))), 10)
	case wordsOfMappings:
		b = append(b, '0'+byte(bits&7)%6)
	case wordsOfMapping:
		b = append(b, 0x80+50+byte(bits&3), ',')
		b = b[:len(b)-int(bits>>2&1)*int(bits>>3&1)*2]
	case wordsOfList:
		return appendList(b, bits)
	case wordsOfDomain:
		if bits&3 != 0 {
			return append(b, 0x80+38, '\n') // cpu_cache
		}
		b = append(b, 0x80+38+byte(bits>>2&3))
	case wordsOfLink:
		return append(b, sysfsLinks[bits%uint64(len(sysfsLinks))]...)
	case wordsOfAnything:
		if bits&3 == 0 {
			return append(b, '1', '\n')
		}
		for n := bits >> 2 & 3; n > 0; n-- {
			bits = bits>>8 | bits<<56
			b = append(b, byte(bits>>8))
		}
		return b
	}
	return append(b, '\n')
}

// appendList appends lines of a sector and a number of sectors, about where the files and
// the device lie.
func appendList(b []byte, bits uint64) []byte {
	for n := bits & 3; n > 0; n-- {
		start := bits >> 8 & 0xff
		switch bits >> 4 & 7 {
		case 0:
			start = start<<8 | 0xf0
		case 1:
			start = nearNumber(bits >> 16)
		case 2:
			start = nearNumber(bits>>16) / sectorBytes
		}
		count := bits >> 24 & 15
		if bits>>28&7 == 0 {
			count = nearNumber(bits >> 32)
		}
		b = append(strconv.AppendUint(b, start, 10), ' ')
		b = append(strconv.AppendUint(b, count, 10), '\n')
		bits = bits>>17 | bits<<47
		bits = bits&^3 | (n - 1)
	}
	return b
}

const sectorBytes = 512

// sysfsLinks are links, or lists of names, as inputs have them.
var sysfsLinks = [...][]byte{
	{0x80 + 62}, {0x80 + 63}, {0x80 + 64}, {0x80 + 65}, {0x80 + 66}, {0x80 + 50, '/', 0x80 + 43}, {0x80 + 43, '/', 0x80 + 44},
	{0x80 + 62, '/', '.', '.', '/', '.', '.', '/', '.', '.'}, {0x80 + 48, 0x80 + 44, '/', 0x80 + 43, '/', 0x80 + 58},
	{0x80 + 44, '/', 0x80 + 44}, {0x80 + 42, '/', 0x80 + 57}, {'/', 0x80 + 43, '/', 0x80 + 57, '/'},
}

// sysfsSeeds are the texts of real machines.
func sysfsSeeds() [][]byte {
	seed := func(question, variant byte, text string) []byte { return append([]byte{question, variant}, text...) }
	return [][]byte{
		seed(0, 0, "16777216\n"), seed(0, 0, "18446744073709551616\n"), seed(0, 0, "0x1000000\n"), seed(0, 0, "1 \n"), seed(0, 0, "\n"),
		seed(1, 0, "2097152\n"), seed(1, 7, "4096\n"), seed(2, 0, "-1\n"), seed(2, 0, "+1\n"),
		seed(3, 4, "18446744073709551615\n\xff1\n"), seed(3, 0, "-1\n"), seed(4, 4, "8089-a2-1837-00000b3f\n\xff8089-a2-1837-00000b40\n"),
		seed(5, 2, "cpu_cache\n\xffmemory_controller\n"), seed(6, 0, "../../../../bus/dax"), seed(7, 0, "\xbe\xffregion0"), seed(8, 0, "\xbf\xffregion1"),
		seed(9, 0, "0 8\n2040 16\n"), seed(9, 0x40, "2048 1\n\xff2048\n"), seed(9, 0x38, "0 1\n8 1\n16 1\n24 1\n32 1\n40 1\n48 1\n56 1\n64 1\n72 1\n80 1\n88"),
		seed(10, 0, "4096 8\n"), seed(10, 0, "4096 8\n\xff0x180200000\n\xff16777216\n\xff0x180000000\n"), seed(11, 0, "1\n"),
	}
}
