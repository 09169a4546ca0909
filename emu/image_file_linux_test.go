package emu

import (
	"bytes"
	"compress/flate"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"reflect"
	"runtime"
	"slices"
	"strings"
	"testing"
	"testing/iotest"
)

// imageOf is the file of m with contents.
func imageOf(t testing.TB, b *blueprint, contents []content, extra string) []byte {
	t.Helper()
	var file bytes.Buffer
	must(t, writeImage(&file, b, slices.Values(contents), json.RawMessage(extra)))
	return file.Bytes()
}

// smallMachine has a device DAX, a file system with one file and only a few attributes, so
// that its file is small. The device has number 3, the file number 7.
func smallMachine(t testing.TB) *blueprint {
	t.Helper()
	m := NewMachine(Config{})
	d := m.AddDevDax(DevDax{Size: 4 << 20})
	f, err := m.AddFS(FS{Size: 1 << 20, DAX: true}).Create("file", 10000)
	must(t, err, f.Close(), d.AddBadBlock(8192, 1))
	b := planOf(t, m)
	b.Sysfs.Children = nil
	must(t, m.Shutdown())
	for number, size := range map[int]uint64{3: 4 << 20, 7: 10000} {
		if got := b.contentSizes()[number]; got != size {
			t.Fatalf("object %d has %d bytes, want %d", number, got, size)
		}
	}
	return b
}

func smallContents() []content {
	rng := rand.New(rand.NewPCG(1, 1))
	some := func(n int) []byte {
		data := make([]byte, n)
		for i := range data {
			data[i] = byte(rng.IntN(4))
		}
		return data
	}
	return []content{{3, 0, some(64)}, {3, 64, some(64)}, {3, 4<<20 - 1, some(1)}, {7, 4096, some(5904)}}
}

func TestImageFile(t *testing.T) {
	for _, c := range zoo {
		t.Run(c.name, func(t *testing.T) {
			m := NewMachine(c.cfg)
			for _, f := range c.add(t, m) {
				must(t, f.Close())
			}
			b := planOf(t, m)
			must(t, m.Shutdown())
			var contents []content
			for number, size := range b.contentSizes() {
				for off := uint64(0); off < min(size, 20000); off += 6000 {
					contents = append(contents, content{number, off, bytes.Repeat([]byte{byte(number)}, int(min(size-off, 4096)))})
				}
			}
			slices.SortFunc(contents, func(a, b content) int {
				if a.Object != b.Object {
					return a.Object - b.Object
				}
				return int(a.Off) - int(b.Off)
			})
			file := imageOf(t, b, contents, `{"why": [1, "<&>"]}`)
			if again := imageOf(t, b, contents, `{"why":[1,"<&>"]}`); !bytes.Equal(again, file) {
				t.Error("equal input made other bytes")
			}
			for name, r := range map[string]io.Reader{
				"at once": bytes.NewReader(file), "half by half": iotest.HalfReader(bytes.NewReader(file)),
				"with its end": iotest.DataErrReader(bytes.NewReader(file)),
			} {
				image, err := readImage(r)
				must(t, err)
				if d := difference(t, image.Blueprint, b); d != "" {
					t.Errorf("%s: the blueprint: %s", name, d)
				}
				if !reflect.DeepEqual(image.Contents, contents) {
					t.Errorf("%s: the contents: got %d pieces, want %d", name, len(image.Contents), len(contents))
				}
				var extra struct{ Why []any }
				must(t, json.Unmarshal(image.Extra, &extra))
				if fmt.Sprint(extra.Why) != "[1 <&>]" {
					t.Errorf("%s: the extra: got %v", name, extra.Why)
				}
			}
		})
	}
}

// Each byte of a file counts, and each is missed.
func TestImageFileDamaged(t *testing.T) {
	b, contents := smallMachine(t), smallContents()
	file := imageOf(t, b, contents, `"extra"`)
	t.Logf("%d bytes", len(file))
	refused := func(what string, at int, file []byte) {
		t.Helper()
		if image, err := readImage(bytes.NewReader(file)); err == nil {
			t.Fatalf("%s %d: it is taken: %+v", what, at, image)
		} else if !strings.HasPrefix(err.Error(), "emu: image file: ") {
			t.Fatalf("%s %d: got %v", what, at, err)
		}
	}
	for i := range file {
		for _, bit := range []byte{1, 0x80} {
			bad := bytes.Clone(file)
			bad[i] ^= bit
			refused("with another byte", i, bad)
		}
		refused("cut off at", i, file[:i])
		bad := bytes.Clone(file)
		refused("without byte", i, append(bad[:i], bad[i+1:]...))
	}
	refused("with more behind, bytes:", 1, append(bytes.Clone(file), 0))
	// With a checksum that is right the damage may be a change. What is taken is then a whole
	// file of another machine.
	for i := rand.IntN(8); i < len(file)-sha256.Size; i += 8 {
		bad := bytes.Clone(file)
		bad[i] ^= 1
		if image, err := readImage(bytes.NewReader(seal(bad))); err == nil {
			checkImage(t, image)
		}
	}
}

// seal gives a file the checksum that it should have.
func seal(file []byte) []byte {
	body := file[:max(0, len(file)-sha256.Size)]
	sum := sha256.Sum256(body)
	return append(bytes.Clone(body), sum[:]...)
}

// handmade is a file of parts that needn't be right.
func handmade(header, stream []byte) []byte {
	file := binary.LittleEndian.AppendUint32([]byte(imageMagic), imageVersion)
	file = binary.LittleEndian.AppendUint64(file, uint64(len(header)))
	file = binary.LittleEndian.AppendUint64(file, uint64(len(stream)))
	return seal(slices.Concat(file, header, stream, make([]byte, sha256.Size)))
}

func deflated(parts ...[]byte) []byte {
	var out bytes.Buffer
	w, _ := flate.NewWriter(&out, 9)
	for _, p := range parts {
		_, _ = w.Write(p)
	}
	_ = w.Close()
	return out.Bytes()
}

func piece(object, off uint64, n uint32, data []byte) []byte {
	head := binary.LittleEndian.AppendUint64(nil, object)
	head = binary.LittleEndian.AppendUint64(head, off)
	return append(binary.LittleEndian.AppendUint32(head, n), data...)
}

// What is wrong is said, with where.
func TestImageFileRefused(t *testing.T) {
	b := smallMachine(t)
	header, err := json.Marshal(imageHeader{Blueprint: b})
	must(t, err)
	end := make([]byte, 8)
	none := deflated(end)
	change := func(old, new string) []byte {
		if !bytes.Contains(header, []byte(old)) {
			t.Fatalf("there is no %q in %s", old, header)
		}
		return bytes.Replace(header, []byte(old), []byte(new), 1)
	}
	prefix := func(at int, v uint64) []byte {
		file := handmade(header, none)
		binary.LittleEndian.PutUint64(file[at:], v)
		return seal(file)
	}
	one := []byte{1}
	for _, c := range []struct {
		name string
		file []byte
		want string // "": it is taken
	}{
		{"no contents", handmade(header, none), ""},
		{"the longest piece", handmade(header, deflated(piece(3, 3<<20, 1<<20, make([]byte, 1<<20)), end)), ""},
		{"a piece", handmade(header, deflated(piece(3, 5, 1, one), end)), ""},
		{"empty", nil, "it ends at byte 0, 28 bytes before the end of its beginning"},
		{"another magic", append([]byte("P"), handmade(header, none)[1:]...), `it begins with "Pmemlab\n", allowed is "pmemlab\n"`},
		{"another version", seal(append([]byte("pmemlab\n\x02"), handmade(header, none)[9:]...)), "its version is 2, allowed is 1"},
		{"a long header", prefix(12, 1<<63), "its header has 9223372036854775808 bytes"},
		{"a header too long for the file", prefix(12, 64<<20), "bytes before the end of its header"},
		{"a long stream", prefix(20, 1<<40), "its contents have 1099511627776 bytes"},
		{"a stream too long for the file", prefix(20, 2<<30), "bytes before the end of its contents"},
		{"garbage behind", append(handmade(header, none), 1), "there is more behind its end"},
		{"no JSON", handmade([]byte("{,}"), none), "the header at byte 28: about byte"},
		{"no blueprint", handmade([]byte("{}"), none), "there is no blueprint"},
		{"null", handmade([]byte("null"), none), "there is no blueprint"},
		{"two headers", handmade(slices.Concat(header, header), none), "there is more behind its end"},
		{"a field of the future", handmade(change(`"Phys"`, `"Fizz"`), none), `unknown field "Fizz"`},
		{"another class", handmade(change(`"devdax"`, `"disk"`), none), `class is "disk", allowed are ["devdax" `},
		{"a negative size", handmade(change(`"Size":6291456`, `"Size":-1`), none), "cannot unmarshal number -1"},
		{"a blueprint that can't be", handmade(change(`"Model":0`, `"Model":7`), none), "Config.Model is 7, allowed are 0 to 1"},
		{"no stream", handmade(header, nil), "piece 0, about byte 0 of 0: unexpected EOF"},
		{"no deflate", handmade(header, []byte("hello")), "piece 0, about byte"},
		{"no end", handmade(header, deflated(piece(3, 5, 1, one))), "piece 1, about byte"},
		{"cut off in a head", handmade(header, deflated(piece(3, 5, 1, nil)[:12])), "piece 0, about byte"},
		{"cut off in data", handmade(header, deflated(piece(3, 5, 2, one))), "piece 0, about byte"},
		{"more behind the last", handmade(header, deflated(end, one)), "there is more behind the last"},
		{"more behind the stream", handmade(header, append(none, 0)), "there are 1 bytes behind the stream"},
		{"an object that isn't there", handmade(header, deflated(piece(9, 0, 1, one), end)), "1 bytes at 0 of object 9, allowed are those inside its 0"},
		{"a directory", handmade(header, deflated(piece(6, 0, 1, one), end)), "allowed are those inside its 0"},
		{"an object of a large number", handmade(header, deflated(piece(1<<63, 0, 1, one), end)), "its object is 9223372036854775808"},
		{"behind the end", handmade(header, deflated(piece(7, 10000, 1, one), end)), "allowed are those inside its 10000"},
		{"around the end of numbers", handmade(header, deflated(piece(7, 1<<64-1, 2, []byte("ab")), end)), "allowed are those inside its 10000"},
		{"no bytes", handmade(header, deflated(piece(3, 0, 0, nil), end)), "0 bytes, allowed are 1 to 1048576"},
		{"too many bytes", handmade(header, deflated(piece(3, 0, 1<<20+1, make([]byte, 1<<20+1)), end)), "1048577 bytes, allowed are 1 to 1048576"},
		{"overlapping", handmade(header, deflated(piece(3, 0, 2, []byte("ab")), piece(3, 1, 1, one), end)), "behind those that end at 2 of object 3"},
		{"not ascending", handmade(header, deflated(piece(7, 0, 1, one), piece(3, 0, 1, one), end)), "behind those that end at 1 of object 7"},
	} {
		image, err := readImage(bytes.NewReader(c.file))
		switch {
		case c.want == "" && err == nil:
			checkImage(t, image)
		case err == nil || c.want == "" || !strings.Contains(err.Error(), c.want):
			t.Errorf("%s: got %v, want %q", c.name, err, c.want)
		}
	}
	// And what can't be written.
	for _, c := range []struct {
		name     string
		contents []content
		extra    string
		want     string
	}{
		{"not ascending", []content{{7, 0, one}, {3, 0, one}}, "", "behind those that end at 1 of object 7"},
		{"behind the end", []content{{3, 4 << 20, one}}, "", "allowed are those inside its 4194304"},
		{"no bytes", []content{{3, 0, nil}}, "", "0 bytes, allowed are 1 to 1048576"},
		{"no JSON", nil, "{", "header of an image file"},
	} {
		var out bytes.Buffer
		err := writeImage(&out, b, slices.Values(c.contents), json.RawMessage(c.extra))
		if err == nil || !strings.Contains(err.Error(), c.want) || out.Len() > 0 {
			t.Errorf("writing, %s: got %v and %d bytes, want %q and none", c.name, err, out.Len(), c.want)
		}
	}
	broken := errors.New("broken")
	if _, err := readImage(io.MultiReader(bytes.NewReader(handmade(header, none)), iotest.ErrReader(broken))); !errors.Is(err, broken) {
		t.Errorf("a reader that fails at the end: got %v, want %v", err, broken)
	}
	if _, err := readImage(io.MultiReader(bytes.NewReader(header[:5]), iotest.ErrReader(broken))); !errors.Is(err, broken) {
		t.Errorf("a reader that fails: got %v, want %v", err, broken)
	}
}

// More than the file may hold in all is refused while it is read.
func TestImageFileBomb(t *testing.T) {
	check := contentCheck{sizes: map[int]uint64{1: 1 << 40}}
	n := 0
	for check.next(1, uint64(n)<<20, 1<<20) == nil {
		n++
	}
	if n != maxImageContents>>20 {
		t.Errorf("got %d MiB of contents, want %d", n, maxImageContents>>20)
	}
	// What a file tells of and doesn't have takes no memory.
	file := handmade(nil, nil)
	binary.LittleEndian.PutUint64(file[12:], maxImageHeader)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	_, err := readImage(bytes.NewReader(file))
	runtime.ReadMemStats(&after)
	if n := after.TotalAlloc - before.TotalAlloc; err == nil || n > maxImageHeader/8 {
		t.Errorf("got %v and took %d bytes, want an error and less than %d", err, n, maxImageHeader/8)
	}
}

// checkImage checks that an image that was taken is one that can be written and built.
func checkImage(t testing.TB, image *imageFile) {
	t.Helper()
	_, want := asJSON(t, image.Blueprint)
	file := imageOf(t, image.Blueprint, image.Contents, string(image.Extra))
	again, err := readImage(bytes.NewReader(file))
	must(t, err)
	if _, got := asJSON(t, again.Blueprint); !bytes.Equal(got, want) || !reflect.DeepEqual(again.Contents, image.Contents) {
		t.Errorf("written and read again it is another one:\n%s", difference(t, again.Blueprint, image.Blueprint))
	}
	if image.Blueprint.Counts.Object > 1000 {
		return
	}
	m, err := image.Blueprint.build()
	if err != nil { // this host hasn't the instructions
		return
	}
	compareBuilt(t, "from a file", m, image.Blueprint)
}

func FuzzReadImage(f *testing.F) {
	b := smallMachine(f)
	f.Add(imageOf(f, b, smallContents(), `"extra"`))
	header, err := json.Marshal(imageHeader{Blueprint: b})
	must(f, err)
	f.Add(handmade(header, deflated(make([]byte, 8))))
	f.Add(handmade(header, deflated(piece(7, 0, 1, []byte{1}), make([]byte, 8))))
	f.Add(handmade([]byte(`{"Blueprint":{"Config":{},"Phys":4294967296}}`), deflated(make([]byte, 8))))
	f.Fuzz(func(t *testing.T, file []byte) {
		for _, file := range [][]byte{file, seal(file)} {
			if image, err := readImage(bytes.NewReader(file)); err == nil {
				checkImage(t, image)
			}
		}
		// A file's header and stream, each with lengths that are right.
		if len(file) > imagePrefix {
			n := min(binary.LittleEndian.Uint64(file[12:]), uint64(len(file)-imagePrefix))
			header, stream := file[imagePrefix:][:n], file[imagePrefix:][n:]
			for _, stream := range [][]byte{stream, deflated(stream), deflated(make([]byte, 8))} {
				if image, err := readImage(bytes.NewReader(handmade(header, stream))); err == nil {
					checkImage(t, image)
				}
			}
		}
	})
}
