package fuzz

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"runtime/metrics"
)

// Files is the target of what is loaded from files, which can be damaged or made by anyone:
// images of machines, traces, reports, and the texts by which parts of a run and what a
// target has are told. What is read is an error, or a value that is the same when it is
// written and read again; and it takes no more memory than the file can account for.
//
// The first byte of an input picks the file. What follows are edits of a valid file, or
// the whole file itself, or numbers and texts of which a file is made.
var Files = Target{
	Name:     "Files",
	About:    "files of others: images of machines, traces, reports, edited anywhere or made up",
	Accepted: "read",
	New:      newFilesInstance,
	Generate: filesInputBytes,
	Seeds:    filesSeeds,
}

type filesInstance struct {
	image  imageFiles
	trace  []byte // a valid one
	report []byte // likewise
	text   []byte
	pieces []imagePiece
	heap   [1]metrics.Sample
}

// fileKinds are picked by the first byte.
var fileKinds = [...]struct {
	name string
	run  func(i *filesInstance, input []byte) (bool, error)
}{
	{"image of a machine", (*filesInstance).runImage},
	{"header of an image", (*filesInstance).runImageHeader},
	{"pieces of an image", (*filesInstance).runImagePieces},
	{"trace", (*filesInstance).runTrace},
	{"events of a trace", (*filesInstance).runEvents},
	{"report", (*filesInstance).runReport},
	{"rows of a report", (*filesInstance).runRows},
	{"part of a run", (*filesInstance).runShard},
	{"declaration", (*filesInstance).runDeclaration},
}

func newFilesInstance() (Instance, error) {
	i := &filesInstance{trace: validTrace(), report: validReport()}
	i.heap[0].Name = "/gc/heap/allocs:bytes"
	return i, i.image.make()
}

// Close is Instance.Close.
func (*filesInstance) Close() error { return nil }

// mostMemory is how many bytes reading a file may take, whatever is in it: none of the files
// here is long.
const mostMemory = 128 << 20

// Run is Instance.Run.
func (i *filesInstance) Run(input []byte) (bool, error) {
	if len(input) == 0 {
		return false, nil
	}
	kind := fileKinds[int(input[0])%len(fileKinds)]
	before := i.allocated()
	accepted, err := kind.run(i, input[1:])
	if taken := i.allocated() - before; err == nil && taken > mostMemory {
		err = fmt.Errorf("%d bytes of memory are taken", taken)
	}
	if err != nil {
		err = fmt.Errorf("%s: %w", kind.name, err)
	}
	return accepted, err
}

func (i *filesInstance) allocated() uint64 {
	metrics.Read(i.heap[:])
	return i.heap[0].Value.Uint64()
}

// fileEdit is one change of a file.
type fileEdit struct{ Kind, High, Low, Value byte }

// Layout is how it lies in bytes.
func (e *fileEdit) Layout(c *Codec) {
	for _, p := range []*byte{&e.Kind, &e.High, &e.Low, &e.Value} {
		c.Byte(p)
	}
}

// wholeFile in the place of the first edit says that what follows is the whole file.
const wholeFile = 0xff

// edited is a file with the changes of an input, in a buffer that the next call uses again.
func (i *filesInstance) edited(file, input []byte) []byte {
	b := append(i.text[:0], file...)
	if len(input) > 0 && input[0] == wholeFile {
		b = append(b[:0], input[1:]...)
		input = nil
	}
	for n := 0; len(input) > 0 && n < 8; n++ {
		var e fileEdit
		input = Decode(input, &e)
		b = e.apply(b)
	}
	i.text = b
	return b
}

// apply makes the change. What lies behind the end of the file does so at its end.
func (e fileEdit) apply(b []byte) []byte {
	at := int(e.High)<<8 | int(e.Low)
	if len(b) > 0 {
		at %= len(b) + 1
	} else {
		at = 0
	}
	left := b[at:]
	switch e.Kind % 12 {
	case 0, 1:
		if len(left) > 0 {
			left[0] = e.Value
		}
	case 2:
		if len(left) > 0 {
			left[0] ^= 1 << (e.Value % 8)
		}
	case 3:
		return b[:at]
	case 4:
		return insertAt(b, at, []byte{e.Value})
	case 5:
		return append(b[:at], left[min(len(left), 1+int(e.Value%16)):]...)
	case 6:
		return insertAt(b, at, bytes.Clone(left[:min(len(left), int(e.Value))]))
	case 7: // a length of 64 bits
		if len(left) >= 8 {
			binary.LittleEndian.PutUint64(left, interesting[e.Value%16]+uint64(e.Value>>4)-8)
		}
	case 8, 9: // the next number of a text
		from := bytes.IndexAny(left, "0123456789")
		if from < 0 {
			return b
		}
		to := from
		for to < len(left) && left[to] >= '0' && left[to] <= '9' {
			to++
		}
		rest := bytes.Clone(left[to:])
		b = append(b[:at+from], jsonNumbers[int(e.Value)%len(jsonNumbers)]...)
		return append(b, rest...)
	case 10:
		return insertAt(b, at, []byte(jsonTokens[int(e.Value)%len(jsonTokens)]))
	case 11:
		return append(b, e.Value)
	}
	return b
}

func insertAt(b []byte, at int, what []byte) []byte {
	rest := bytes.Clone(b[at:])
	return append(append(b[:at], what...), rest...)
}

// jsonNumbers are what numbers of a text may become.
var jsonNumbers = [...]string{
	"0", "1", "2", "3", "63", "64", "512", "4095", "4096", "4097", "10000", "4294967295", "4294967296", "1099511627776", "1099511627777",
	"4611686018427387904", "9223372036854775807", "9223372036854775808", "18446744073709551615", "18446744073709551616", "-1", "-9223372036854775808",
	"1.5", "1e3", "1e999", "00", "1152921504606846976", "1048576", "1048577",
}

// jsonTokens are what may come into a text.
var jsonTokens = [...]string{
	"null", "true", "\"\"", "{}", "[]", "{", "}", "[", "]", ",", ":", "\"", "\\", "\"\\ud800\"", "\xff", "\x00", "\n", " ", "-", "0", "\"x\":1,",
	"{\"version\":1}\n", "\u2028", "é", "../", "/", "pass", "fail", "1/2",
}

// errDiffers is that a value isn't the same when it was written and read again.
var errDiffers = errors.New("written and read again it is another one")

// filesSeeds are files of each kind as they are, and some that others have tripped over.
func filesSeeds() [][]byte {
	seeds := [][]byte{
		{0}, {1}, {2}, {3}, {5}, append([]byte{7, 0}, "2/3"...), append([]byte{8, 0}, "devdax.align=2097152"...),
	}
	for _, text := range []string{
		`{"version":1,"guilty":[{"object":-1,"off":9223372036854775807,"len":1,"seq":7,"title":"","text":""}]}`,
		`{"version":1,"objects":[{"unit":512}]}` + "\n" + `{"seq":0,"kind":"fsync","object":0,"off":9223372036854775807,"len":1}`,
	} {
		seeds = append(seeds, append([]byte{3, wholeFile}, text...))
	}
	return seeds
}
