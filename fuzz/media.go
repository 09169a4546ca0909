package fuzz

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"syscall"

	gofuzz "github.com/google/gofuzz"

	"pmemlab/fuzz/model"
)

// Media is the target of what reads and writes media that may be bad: the mcsafe functions, bad
// blocks and what clears them, of both libraries.
var Media = Target{
	Name:     "Media",
	About:    "reads, writes and bad blocks of files and device DAX, by both libraries",
	Accepted: "transferred, listed or cleared",
	New:      newMediaInstance,
	Generate: mediaInputBytes,
	Seeds:    mediaSeeds,
}

// mediaScene is what an input begins with: the source, and what is bad of it. What a byte picks
// is picked by its remainder.
type mediaScene struct {
	Object byte // of the machine's
	Access byte // of mediaAccesses; mostly for reading and writing
	Order  byte // in which a file's pages get their blocks; from 160 on it has holes
	Holes  byte // bits: pages of a file without blocks
	Blank  byte // bits: pages with blocks that were never written to; only if it has holes
	Count  byte // of bad blocks
	Held   byte // from 248 on the source is mapped all the time
	Size   Number
	Bad    [mostBad]struct{ Start, Length Number }
}

const mostBad = 4

// Layout is how it lies in bytes.
func (s *mediaScene) Layout(c *Codec) {
	for _, b := range []*byte{&s.Object, &s.Access, &s.Order, &s.Holes, &s.Blank, &s.Count, &s.Held} {
		c.Byte(b)
	}
	c.Number(&s.Size)
	for i := range s.Bad {
		c.Number(&s.Bad[i].Start)
		c.Number(&s.Bad[i].Length)
	}
}

// mediaOp is one step of an input.
type mediaOp struct {
	Kind   byte // of mediaKinds
	How    byte // bit 0: by libpmemset; the others pick a bad block, or what a callback clears
	Answer byte // of mediaAnswers
	Value  byte // what is written
	Offset Number
	Length Number
}

// Layout is how it lies in bytes.
func (op *mediaOp) Layout(c *Codec) {
	for _, b := range []*byte{&op.Kind, &op.How, &op.Answer, &op.Value} {
		c.Byte(b)
	}
	c.Number(&op.Offset)
	c.Number(&op.Length)
}

const (
	mediaSceneSize = 7 + (1+2*mostBad)*NumberBytes
	mediaOpSize    = 4 + 2*NumberBytes
	mostMediaOps   = 10
)

// The kinds of step.
const (
	mediaRead      = iota
	mediaWrite     // how often a thing is in mediaKinds is how often it's done
	mediaList      // all bad blocks
	mediaNext      // one bad block of a context that is kept
	mediaClear     // any range
	mediaClearBad  // a bad block as it is listed
	mediaDetect    // by mapping with detection, whose callback may clear
	mediaSpoil     // a range goes bad
	mediaTouch     // a byte is loaded or stored through a mapping
	mediaOverwrite // a write of a bad block as it is listed
)

var mediaKinds = [16]byte{
	mediaRead, mediaWrite, mediaList, mediaClear, mediaClearBad, mediaOverwrite, mediaNext, mediaRead,
	mediaWrite, mediaClear, mediaRead, mediaDetect, mediaWrite, mediaSpoil, mediaClear, mediaTouch,
}

// mediaAnswers are what the kernel may answer, mostly nothing special.
var mediaAnswers = [...]model.Kernel{
	1: {Pread: syscall.EAGAIN, Pwrite: syscall.EAGAIN}, 2: {Pread: syscall.EIO, Pwrite: syscall.EIO},
	3: {Pread: syscall.EFAULT, Pwrite: syscall.ENOSPC}, 4: {Pwrite: syscall.EFAULT}, 5: {Most: 1}, 6: {Most: 512}, 7: {Most: 700},
	8: {Most: 4096}, 9: {Capabilities: syscall.ENOTTY}, 10: {Capabilities: syscall.EIO}, 11: {NoScrub: true}, 12: {NoScrub: true},
	13: {ClearError: syscall.ENXIO}, 14: {ClearError: syscall.EPERM}, 15: {Halves: true}, 16: {Halves: true}, 17: {Most: 5000},
	95: {},
}

// mediaAccesses are how descriptors are opened.
var mediaAccesses = [...]struct {
	access model.Access
	append bool
}{{access: model.ReadWrite}, {access: model.ReadOnly}, {access: model.PathOnly}, {access: model.ReadWrite, append: true}, {access: model.WriteOnly}}

// access is which of mediaAccesses an input asks for.
func (s *mediaScene) access() int {
	if s.Access < 208 {
		return 0
	}
	return int(s.Access) % len(mediaAccesses)
}

// Anchors and deltas by what they are in a file or device of sectors.
const (
	anchorOne    = 2
	anchorPage   = 3
	anchorSector = 4
	anchorSize   = 5
	anchorRest   = 6          // to the end of the source
	anchorWrap   = 7          // to the end of all numbers
	anchorHalf   = 14         // 2^63
	anchorBad    = anchorRoom // an end of a bad block
	anchorToBad  = 17         // what is left up to it
	anchorInside = 25
	anchorPages  = 49
	anchorAny    = 50
)

var (
	likelyMediaOffsets = [...]byte{0, 1, 1, anchorBad, anchorBad, anchorBad, anchorBad, anchorBad, anchorInside, anchorInside, anchorPages, anchorPages, anchorPages, anchorAny, anchorSize, anchorHalf}
	likelyMediaLengths = [...]byte{anchorPage, anchorPage, anchorSector, anchorOne, anchorToBad, anchorToBad, anchorRest, anchorRest, anchorInside, anchorPages, anchorPages, anchorAny, anchorHalf, anchorWrap}
	likelySizes        = [...]byte{anchorPages, anchorPages, anchorAny, anchorSize}
	likelyBadStarts    = [...]byte{anchorInside, anchorInside, anchorPages, anchorPages, anchorAny, anchorBad, anchorBad, anchorRest, 1}
	likelyBadLengths   = [...]byte{anchorSector, anchorSector, anchorOne, anchorPage, anchorInside, anchorAny, anchorPages}
)

// mediaInputBytes makes inputs with bad blocks that are met mostly.
func mediaInputBytes(r *rand.Rand) []byte {
	var scene [1]mediaScene
	var ops [mostMediaOps]mediaOp
	fillAll(mediaFillers, r, scene[:])
	n := 1 + r.IntN(3)
	if r.IntN(8) == 0 {
		n = mostMediaOps
	}
	fillAll(mediaFillers, r, ops[:n])
	to := make([]byte, 0, mediaSceneSize+n*mediaOpSize)
	return EncodeAll(Encode(to, &scene[0]), ops[:n])
}

var mediaFillers = newFillers(likelyScene, likelyMediaOp)

func likelyScene(s *mediaScene, c gofuzz.Continue) {
	bits := c.Uint64()
	s.Object, s.Access, s.Order, s.Holes = byte(bits), byte(bits>>8), byte(bits>>16), byte(bits>>24)
	s.Blank, s.Count = byte(bits>>32), byte(bits>>40)
	if s.Held = byte(bits >> 56); bits>>48%4 != 0 { // more than two take long
		s.Count %= 2
	}
	likelyMediaNumber(&s.Size, likelySizes[:], c)
	for i := range int(s.Count) % (mostBad + 1) {
		likelyMediaNumber(&s.Bad[i].Start, likelyBadStarts[:], c)
		likelyMediaNumber(&s.Bad[i].Length, likelyBadLengths[:], c)
	}
}

func likelyMediaOp(op *mediaOp, c gofuzz.Continue) {
	bits := c.Uint64()
	op.Kind, op.How, op.Answer, op.Value = byte(bits), byte(bits>>8), byte(bits>>16), byte(bits>>24)
	likelyMediaNumber(&op.Offset, likelyMediaOffsets[:], c)
	likelyMediaNumber(&op.Length, likelyMediaLengths[:], c)
}

// likelyMediaNumber fills a number in: with a distance more often than others have one.
func likelyMediaNumber(n *Number, anchors []byte, c gofuzz.Continue) {
	bits := c.Uint64()
	n.Anchor, n.Delta, n.Raw = byte(bits), 0, c.Uint64()
	if bits>>16%16 != 0 {
		n.Anchor = anchors[bits>>24%uint64(len(anchors))]
	}
	if bits>>20%4 == 0 {
		n.Delta = byte(bits >> 8 % 8)
	}
	if n.Anchor == anchorHalf {
		n.Delta = byte(bits >> 8 % 3) // where signed numbers end
	}
}

type mediaInstance struct {
	machine *mediaMachine
	scene   mediaScene
	ops     []mediaOp
	try     mediaTry
}

func newMediaInstance() (Instance, error) {
	m, err := newMediaMachine()
	if err != nil {
		if m != nil {
			err = errors.Join(err, m.close())
		}
		return nil, err
	}
	return &mediaInstance{machine: m, try: mediaTry{m: m}}, nil
}

// Run is Instance.Run.
func (i *mediaInstance) Run(input []byte) (bool, error) {
	rest := Decode(input, &i.scene)
	i.ops = DecodeAll(rest, i.ops[:0], mostMediaOps)
	t := &i.try
	err := t.run(&i.scene, i.ops)
	if err != nil && t.media.Kind == model.DeviceDAX { // nobody knows what it has done
		t.touched(0, t.media.Size)
	}
	if left := t.end(); err == nil {
		err = left
	}
	if err != nil {
		err = fmt.Errorf("%s: %w", t.words(), err)
	}
	return t.accepted, err
}

// Close is Instance.Close.
func (i *mediaInstance) Close() error { return i.machine.close() }
