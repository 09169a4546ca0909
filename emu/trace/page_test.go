package trace

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// pageData is the JSON in a page, as a browser finds it.
func pageData(t *testing.T, html string) []byte {
	t.Helper()
	_, rest, found := strings.Cut(html, `<script type="application/json" id="data">`)
	data, _, ended := strings.Cut(rest, "</script>")
	if !found || !ended {
		t.Fatal("the page has no data")
	}
	return []byte(data)
}

func writeHTML(t *testing.T, l *Log, title string) string {
	t.Helper()
	var b strings.Builder
	if err := l.WriteHTML(&b, title); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// TestPageGolden has what the script is given, without the page around it.
func TestPageGolden(t *testing.T) {
	for _, x := range exampleLogs {
		data := pageData(t, writeHTML(t, x.log(), x.name))
		var b bytes.Buffer
		if err := json.Indent(&b, data, "", " "); err != nil {
			t.Fatal(err)
		}
		// An event or a row on one line.
		short := regexp.MustCompile(`\[[^\[\]{}]*\]`).ReplaceAllStringFunc(b.String(), func(s string) string {
			return regexp.MustCompile(`\n *`).ReplaceAllString(s, "")
		})
		golden(t, x.name+".page.json", []byte(short+"\n"))
	}
}

func TestPageHasEveryEvent(t *testing.T) {
	seed := uint64(5)
	t.Log("seed", seed)
	rnd := rand.New(rand.NewPCG(seed, 0))
	for n := range 100 {
		l := randomLog(rnd, 60)
		var p struct {
			Kinds, Frames []string
			Rows          [][]any
			Events        [][]any
			Windows       [][4]int
			Stacks        [][]int
			Gs            []int64
			Guilty        []struct{ Row, Rows, At int }
		}
		if err := json.Unmarshal(pageData(t, writeHTML(t, l, "t")), &p); err != nil {
			t.Fatal(err)
		}
		if len(p.Events) != len(l.Events) || len(p.Guilty) != len(l.Guilty) {
			t.Fatalf("log %d: got %d events and %d guilty lines, want %d and %d", n, len(p.Events), len(p.Guilty), len(l.Events), len(l.Guilty))
		}
		row := func(i int) (object int, off, size uint64) {
			return int(p.Rows[i][0].(float64)), uint64(p.Rows[i][1].(float64)), uint64(p.Rows[i][2].(float64))
		}
		for i := range p.Rows {
			object, off, size := row(i)
			if unit := l.Objects[object].unit(); off%unit != 0 || size%unit != 0 || size == 0 {
				t.Errorf("log %d, row %d: %#x+%#x isn't of whole lines", n, i, off, size)
			}
			if i > 0 {
				if o, before, size := row(i - 1); o > object || o == object && before+size > off {
					t.Errorf("log %d, row %d: %d:%#x comes after %d:%#x+%#x", n, i, object, off, o, before, size)
				}
			}
		}
		for i, e := range l.Events {
			got := p.Events[i]
			if got[0] != float64(e.Seq) || p.Kinds[int(got[1].(float64))] != e.Kind.String() || p.Gs[int(got[2].(float64))] != e.G {
				t.Errorf("log %d, event %d: got %v, want %+v", n, i, got, e)
			}
			// Each store, flush and msync of a range has a row, and its first and last byte lie
			// in its rows.
			first, rows := int(got[4].(float64)), int(got[5].(float64))
			wants := e.Object >= 0 && e.Len > 0 && (e.Kind.IsStore() || e.Kind.IsFlush() || e.Kind == Msync)
			if wants != (rows > 0) && e.Kind != Fsync {
				t.Errorf("log %d, event %d, %+v: has %d rows", n, i, e, rows)
			}
			if e.Kind.IsStore() && wants {
				o, from, _ := row(first)
				_, to, size := row(first + rows - 1)
				if o != e.Object || e.Off < from || e.Off >= from+l.Objects[o].unit() || e.Off+e.Len > to+size || e.Off+e.Len <= to {
					t.Errorf("log %d, event %d: %#x+%#x has rows %#x to %#x", n, i, e.Off, e.Len, from, to+size)
				}
			}
			if stack := int(got[9].(float64)); (stack >= 0) != (len(e.Callers) > 0) {
				t.Errorf("log %d, event %d: stack %d of %v", n, i, stack, e.Callers)
			} else if stack >= 0 {
				for j, f := range p.Stacks[stack] {
					if want := e.Callers[j].Func + "\n" + e.Callers[j].String(); p.Frames[f] != want {
						t.Errorf("log %d, event %d, caller %d: got %q, want %q", n, i, j, p.Frames[f], want)
					}
				}
			}
		}
		// The windows are those of Windows, row by row.
		want, got := map[string]bool{}, map[string]bool{}
		for _, w := range l.Windows() {
			for off := w.Off; off < w.Off+w.Len; off += l.Objects[w.Object].unit() {
				w := w
				w.Off, w.Len = off, l.Objects[w.Object].unit()
				want[w.describe()] = true
			}
		}
		for _, w := range p.Windows {
			o, off, size := row(w[0])
			for end := off + size; off < end; off += l.Objects[o].unit() {
				v := Window{Object: o, Off: off, Len: l.Objects[o].unit(), Risk: Risk(w[1]), From: l.Events[w[2]].Seq, Open: w[3] < 0}
				if v.To = l.Events[len(l.Events)-1].Seq; !v.Open {
					v.To = l.Events[w[3]].Seq
				}
				got[v.describe()] = true
			}
		}
		if fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("log %d: windows are\n%v, want\n%v", n, got, want)
		}
	}
}

func TestPageEscapes(t *testing.T) {
	const evil = "</script><!--<img src=x onerror=alert(1)>\u2028'\"{{.}}`"
	l := &Log{
		Objects: []Object{{Name: evil, Size: 4096, Unit: 64}},
		Events: []Event{
			{Kind: Store, Len: 1, Data: []byte{1}, Callers: []Frame{{evil, evil, 1}}},
			{Seq: 1 << 60, Kind: Mark, Object: -1, Text: evil},
		},
		Guilty: []Guilty{{Len: 64, Seq: 1 << 60, Title: evil, Text: evil}},
	}
	html := writeHTML(t, l, evil)
	if strings.Contains(html, "<img") || strings.Contains(html, "<!--") || strings.ContainsRune(html, 0x2028) && strings.Contains(string(pageData(t, html)), "\u2028") {
		t.Error("the page has the name as it is")
	}
	if want := "<h1>&lt;/script&gt;&lt;!--&lt;img src=x onerror=alert(1)&gt;\u2028&#39;&#34;{{.}}`</h1>"; !strings.Contains(html, want) {
		t.Errorf("the page doesn't have the title, as %s", want)
	}
	if got, want := strings.Count(html, "</script>"), 2; got != want {
		t.Errorf("got %d ends of scripts, want %d", got, want)
	}
	var p struct {
		Objects []struct{ Name string }
		Events  [][]any
	}
	if err := json.Unmarshal(pageData(t, html), &p); err != nil {
		t.Fatal(err)
	}
	if p.Objects[0].Name != evil || p.Events[1][11] != evil {
		t.Errorf("got object %q and text %q, want %q", p.Objects[0].Name, p.Events[1][11], evil)
	}
	if got, want := p.Events[1][0], "0x1000000000000000"; got != want {
		t.Errorf("a number that JavaScript can't hold: got %v, want %q", got, want)
	}
}

func TestPageNeedsNothingElse(t *testing.T) {
	html := writeHTML(t, missingFlush(), "t")
	for _, bad := range []string{"http:", "https:", "src=", "@import", "url(", "fetch(", "XMLHttp", "<link", "eval("} {
		if strings.Contains(html, bad) {
			t.Errorf("the page has %q", bad)
		}
	}
	// What the script looks for is there.
	for _, m := range regexp.MustCompile(`\$\("([a-z]+)"\)`).FindAllStringSubmatch(pageJS, -1) {
		if !strings.Contains(html, `id="`+m[1]+`"`) {
			t.Errorf("the script wants #%s, which the page doesn't have", m[1])
		}
	}
	for _, m := range regexp.MustCompile(`color(?:\.([a-z]+)|\["([a-z-]+)"\])`).FindAllStringSubmatch(pageJS, -1) {
		if name := m[1] + m[2]; strings.Count(pageCSS, "--"+name+":") != 2 && name != "g" {
			t.Errorf("the script wants --%s, which isn't in both palettes", name)
		}
	}
	for k := Store; k <= lastKind; k++ {
		if !strings.Contains(pageJS, `"`+k.String()+`": "`) {
			t.Errorf("the script has no name for %v", k)
		}
	}
}

func TestPageScriptParses(t *testing.T) {
	node, err := exec.LookPath("node")
	if err != nil {
		for _, pair := range []string{"()", "[]", "{}"} {
			// As many are opened as closed, in text too.
			if open, closed := strings.Count(pageJS, pair[:1]), strings.Count(pageJS, pair[1:]); open != closed {
				t.Errorf("the script has %d %q and %d %q", open, pair[:1], closed, pair[1:])
			}
		}
		return
	}
	file := filepath.Join(t.TempDir(), "page.js")
	if err := os.WriteFile(file, []byte(pageJS), 0o644); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command(node, "--check", file).CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}

// TestPageLimits has logs of more than a page holds.
func TestPageLimits(t *testing.T) {
	r := &recorder{log: Log{Objects: []Object{devDax()}}, g: 1}
	for i := range uint64(50) {
		r.word(i*64, i+1)
		r.on(CLWB, 0, i*64, 8)
	}
	l := &r.log // seq 1 to 100
	for _, row := range []struct {
		guilty            uint64
		first, last, want int
	}{{0, 91, 100, 10}, {50, 45, 54, 10}, {51, 46, 55, 10}, {2, 1, 10, 10}, {99, 91, 100, 10}} {
		l.Guilty = []Guilty{{Len: 64, Seq: row.guilty}}
		p := newPage(l, pageLimits{events: 10, eventData: 4, data: 10})
		if got := len(p.Events); got != row.want || p.Events[0].seq != uint64(row.first) || p.Events[got-1].seq != uint64(row.last) {
			t.Errorf("guilty at %d: got %d events from %d to %d, want %d from %d to %d", row.guilty, got, p.Events[0].seq, p.Events[got-1].seq, row.want, row.first, row.last)
		}
		say := strings.Join(p.summary(), ", ")
		end := "at the end"
		if row.last < 100 {
			end = fmt.Sprint("after event ", row.last)
		}
		if want := fmt.Sprintf("100 events, 50 lines, 1 goroutine, %d lines at risk %s, this page holds events %d to %d of the log only", (row.last+1)/2, end, row.first, row.last); say != want {
			t.Errorf("got %q, want %q", say, want)
		}
		bytes := 0
		for _, e := range p.Events {
			bytes += len(e.data) / 2
		}
		if bytes != 10 {
			t.Errorf("got %d bytes of data, want 10", bytes)
		}
		at := -1
		if row.guilty > 0 {
			at = int(row.guilty) - row.first
		}
		if p.Guilty[0].At != at || p.Guilty[0].Rows != 1 {
			t.Errorf("guilty at %d: got event %d, %d rows, want event %d, 1 row", row.guilty, p.Guilty[0].At, p.Guilty[0].Rows, at)
		}
		for _, w := range p.Windows {
			if w.from < 0 || w.from >= 10 || w.to < -1 || w.to >= 10 {
				t.Errorf("window %+v isn't of the page's events", w)
			}
		}
	}
	if p := newPage(&Log{Events: l.Events[:1], Objects: l.Objects, Guilty: []Guilty{{Object: -1, Seq: 9}}}, usualLimits); p.Guilty[0].At != 1 {
		t.Errorf("a failure after the last event: got event %d, want 1", p.Guilty[0].At)
	}
}

// TestPageRowsOfMuch: many lines of the same events are one row.
func TestPageRowsOfMuch(t *testing.T) {
	l := &Log{Objects: []Object{{Name: "a", Size: 1 << 40, Unit: 64}}, Events: []Event{
		{Seq: 1, Kind: Store, Len: 1 << 20, Data: make([]byte, 1<<20)},
		{Seq: 2, Kind: CLWB, Len: 64},
		{Seq: 3, Kind: CLWB, Off: 1 << 30, Len: 1 << 30}, // of nothing
		{Seq: 4, Kind: Fsync},
	}}
	p := newPage(l, usualLimits)
	want := []pageRow{{0, 0, 64}, {0, 64, 1<<20 - 64}, {0, 1 << 30, 64}}
	if got := strings.Join(p.summary(), ", "); got != "4 events, 16385 lines, 1 goroutine, all durable at the end" {
		t.Errorf("got %q, want 16385 lines", got)
	}
	for lines, rows := range map[int]int{8: 8, 9: 1} {
		few := &Log{Objects: l.Objects, Events: []Event{{Seq: 1, Kind: Store, Len: uint64(64 * lines), Data: make([]byte, 64*lines)}}}
		p := newPage(few, usualLimits)
		if want := fmt.Sprintf("%d lines at risk at the end", lines); len(p.Rows) != rows || p.summary()[3] != want {
			t.Errorf("%d lines: got %d rows and %q, want %d and %q", lines, len(p.Rows), p.summary()[3], rows, want)
		}
	}
	if fmt.Sprint(p.Rows) != fmt.Sprint(want) {
		t.Errorf("got rows %v, want %v", p.Rows, want)
	}
	var b bytes.Buffer
	if err := l.WriteHTML(&b, "t"); err != nil || b.Len() > 100_000 {
		t.Errorf("got %d bytes and %v, want at most 100000", b.Len(), err)
	}
}
