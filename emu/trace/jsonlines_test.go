package trace

import (
	"bytes"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
)

var rewrite = flag.Bool("rewrite", false, "write what the tests see into testdata")

// golden compares got with a file of testdata.
func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	file := filepath.Join("testdata", name)
	if *rewrite {
		if err := os.WriteFile(file, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("%s: got\n%s\nwant\n%s", file, got, want)
	}
}

func TestJSONGolden(t *testing.T) {
	for _, x := range exampleLogs {
		var b bytes.Buffer
		if err := x.log().WriteJSON(&b); err != nil {
			t.Fatal(err)
		}
		golden(t, x.name+".jsonl", b.Bytes())
	}
}

func TestJSONReadsBackEqual(t *testing.T) {
	seed := uint64(20)
	t.Log("seed", seed)
	rnd := rand.New(rand.NewPCG(seed, 0))
	logs := []*Log{{}, {Dropped: 1<<64 - 1}, missingFlush(), sevenStores(), twoGoroutines()}
	for range 300 {
		logs = append(logs, randomLog(rnd, rnd.IntN(40)))
	}
	long := &Log{Events: []Event{{Kind: Store, Len: 1 << 20, Data: bytes.Repeat([]byte{0xa5}, 1<<20), Object: -1}}}
	for i, l := range append(logs, long) {
		var b bytes.Buffer
		if err := l.WriteJSON(&b); err != nil {
			t.Fatalf("log %d: %v", i, err)
		}
		if lines := bytes.Count(b.Bytes(), []byte("\n")); lines != 1+len(l.Events) {
			t.Errorf("log %d of %d events: got %d lines, want %d", i, len(l.Events), lines, 1+len(l.Events))
		}
		got, err := ReadJSON(&b)
		if err != nil {
			t.Fatalf("log %d: %v", i, err)
		}
		if !reflect.DeepEqual(got, l) {
			t.Errorf("log %d: got\n%+v\nwant\n%+v", i, got, l)
		}
		b.Reset()
		if err := l.WritePmemcheck(&b); err == nil {
			if _, err := parsePmemcheck(b.String()); err != nil {
				t.Errorf("log %d: pmemcheck's form: %v in %q", i, err, b.String())
			}
		}
	}
}

func TestReadJSONRefuses(t *testing.T) {
	const head = `{"version":1,"objects":[{"name":"a","size":4096,"unit":64}]}` + "\n"
	for _, row := range []struct{ in, want string }{
		{"", "line 1: there's no header"},
		{"\n", "line 1: the line is empty"},
		{"{}", "line 1: version is 0, known is 1"},
		{`{"version":2}`, "line 1: version is 2"},
		{`{"version":1,"more":1}`, `line 1: json: unknown field "more"`},
		{`{"version":1} {}`, "line 1: there's more behind the value"},
		{`{"version":1,"objects":[{"unit":65}]}`, "line 1: object 0: unit is 65"},
		{`{"version":1,"objects":[{"size":18446744073709551615}]}`, "line 1: object 0: size is 18446744073709551615"},
		{`{"version":1,"guilty":[{"object":0}]}`, "line 1: guilty line 0: object is 0, allowed are -1 to -1"},
		{`{"version":1,"guilty":[{"object":-1,"off":9223372036854775808,"len":1}]}`, "line 1: guilty line 0: offset"},
		{head + "\n", "line 2: the line is empty"},
		{head + `{"seq":1,"kind":"fence"}` + "\v", `line 2: there's more behind the value: "\v"`}, // white, but not to JSON
		{head + "x", "line 2: invalid character"},
		{head + `[` + strings.Repeat("[", 100000), "line 2: "},
		{head + `{"seq":1}`, `line 2: unknown kind ""`},
		{head + `{"seq":1,"kind":"` + strings.Repeat("x", 999) + `"}`, `line 2: unknown kind "xxxx`},
		{head + `{"seq":-1,"kind":"fence"}`, "line 2: json: cannot unmarshal"},
		{head + `{"seq":1,"kind":"fence","data":"00"}`, "line 2: a fence has data"},
		{head + `{"seq":1,"kind":"store","object":0,"data":"0"}`, "line 2: data: encoding/hex: odd length"},
		{head + `{"seq":1,"kind":"store","object":0,"len":1000000000000}`, "line 2: a store of 1000000000000 bytes has data of 0 bytes"},
		{head + `{"seq":1,"kind":"store","object":1,"len":0}`, "line 2: object is 1, allowed are -1 to 0"},
		{head + `{"seq":1,"kind":"store","object":-1,"len":0}`, "line 2: object is -1, allowed are 0 and more"},
		{head + `{"seq":1,"kind":"clwb","object":0,"off":9223372036854775807,"len":2}`, "line 2: offset 0x7fffffffffffffff and length 0x2 reach beyond"},
		{head + `{"seq":1,"kind":"clwb","object":0,"off":2,"len":18446744073709551615}`, "line 2: offset 0x2 and length 0xffffffffffffffff reach beyond"},
		{head + `{"seq":2,"kind":"fence"}` + "\n" + `{"seq":1,"kind":"fence"}`, "line 3: seq is 1, the event before has 2"},
	} {
		l, err := ReadJSON(strings.NewReader(row.in))
		if err == nil || !strings.HasPrefix(err.Error(), "trace: "+row.want) || l != nil {
			t.Errorf("%.200q: got %v, want trace: %s…", row.in, err, row.want)
		}
	}
}

func TestWriteJSONRefuses(t *testing.T) {
	one := []Object{{Name: "a", Size: 4096, Unit: 64}}
	for _, row := range []struct {
		log  Log
		want string
	}{
		{Log{Events: []Event{{Kind: 99, Object: -1}}}, "trace: event 0: unknown kind 99"},
		{Log{Events: []Event{{Seq: 1, Kind: Fence, Object: -1}, {Kind: Fence, Object: -1}}}, "trace: event 1: seq is 0, the event before has 1"},
		{Log{Events: []Event{{Kind: Fence}}}, "trace: event 0: object is 0, allowed are -1 to -1"},
		{Log{Objects: one, Events: []Event{{Kind: Change, Len: 3, Data: []byte{1}}}}, "trace: event 0: a change of 3 bytes has data of 1 bytes"},
		{Log{Objects: one, Guilty: []Guilty{{Object: 1}}}, "trace: guilty line 0: object is 1"},
	} {
		for name, write := range map[string]func(*bytes.Buffer) error{
			"WriteJSON":      func(b *bytes.Buffer) error { return row.log.WriteJSON(b) },
			"WritePmemcheck": func(b *bytes.Buffer) error { return row.log.WritePmemcheck(b) },
			"WriteHTML":      func(b *bytes.Buffer) error { return row.log.WriteHTML(b, "") },
		} {
			var b bytes.Buffer
			if err := write(&b); err == nil || !strings.HasPrefix(err.Error(), row.want) || b.Len() > 0 {
				t.Errorf("%s: got %v and %d bytes, want %s… and none", name, err, b.Len(), row.want)
			}
		}
		row.log.Windows() // has no error to return
	}
}

// failingWriter takes so many bytes.
type failingWriter int

func (w *failingWriter) Write(p []byte) (int, error) {
	if *w < failingWriter(len(p)) {
		return 0, fmt.Errorf("the disk is full")
	}
	*w -= failingWriter(len(p))
	return len(p), nil
}

func TestWritersReportErrors(t *testing.T) {
	r := &recorder{log: Log{Objects: []Object{devDax()}}}
	for i := range uint64(3000) {
		r.word(8*i, i)
	}
	l := &r.log
	for _, room := range []failingWriter{0, 1000, 70_000} {
		for name, write := range map[string]func(*failingWriter) error{
			"WriteJSON":      func(w *failingWriter) error { return l.WriteJSON(w) },
			"WritePmemcheck": func(w *failingWriter) error { return l.WritePmemcheck(w) },
			"WriteHTML":      func(w *failingWriter) error { return l.WriteHTML(w, "") },
		} {
			w := room
			if err := write(&w); err == nil || err.Error() != "the disk is full" {
				t.Errorf("%s with room for %d bytes: got %v, want the writer's error", name, room, err)
			}
		}
	}
}
