package trace

import (
	"bufio"
	_ "embed"
	"encoding/json"
	"fmt"
	"html/template"
	"io"
	"strings"
	"sync"
)

//go:embed page.html
var pageHTML string

//go:embed page.css
var pageCSS string

//go:embed page.js
var pageJS string

var pageTemplate = sync.OnceValues(func() (*template.Template, error) {
	return template.New("trace").Parse(pageHTML)
})

// pageHead is what the page says without its script.
type pageHead struct {
	Title    string
	CSS      template.CSS
	Summary  []string
	Findings []pageFinding
	Objects  []string
	Gs       []pageG
}

type pageFinding struct{ Title, Text, Where string }

type pageG struct {
	Index int
	Name  string
}

// WriteHTML writes the log as one page that needs nothing else: events across, in their
// order, and the lines that they touched down, with the windows in which each was at risk
// ([Log.Windows]) and the guilty lines pointed out. Runs of more than 8 lines with the
// same events are one row. The title is plain text.
//
// The page holds at most 400,000 events, those around the first guilty line or else the
// last, and of their data the first 512 bytes each, 16 MiB in all; it says what it
// doesn't hold. The error is that of w, or says which event or object is like no machine's.
func (l *Log) WriteHTML(w io.Writer, title string) error {
	if err := l.check(); err != nil {
		return fmt.Errorf("trace: %w", err)
	}
	t, err := pageTemplate()
	if err != nil {
		return err
	}
	p := newPage(l, usualLimits)
	data, err := json.Marshal(p) // has neither < nor U+2028 in it
	if err != nil {
		return err
	}
	out := bufio.NewWriterSize(w, 64<<10)
	if err := t.Execute(out, p.head(title)); err != nil {
		return err
	}
	for _, part := range []string{
		`<script type="application/json" id="data">`, string(data), "</script>\n<script>\n", pageJS, "</script>\n</body>\n</html>\n",
	} {
		_, _ = out.WriteString(part) // errors stay until Flush
	}
	return out.Flush()
}

// head is what the page says of itself before its script runs.
func (p *page) head(title string) pageHead {
	h := pageHead{Title: title, CSS: template.CSS(pageCSS), Summary: p.summary()}
	for _, o := range p.log.Objects {
		h.Objects = append(h.Objects, o.Name)
	}
	for i, g := range p.Gs {
		h.Gs = append(h.Gs, pageG{i, gName(g)})
	}
	for _, g := range p.log.Guilty {
		h.Findings = append(h.Findings, pageFinding{g.Title, g.Text, p.log.where(g)})
	}
	return h
}

func gName(g int64) string {
	if g == 0 {
		return "unknown goroutine"
	}
	return fmt.Sprintf("goroutine %d", g)
}

// where names the lines of g and its event.
func (l *Log) where(g Guilty) string {
	var parts []string
	if g.Object >= 0 {
		end := g.Off + max(g.Len, 1) - 1
		parts = append(parts, fmt.Sprintf("%s at %#x–%#x", l.Objects[g.Object].Name, g.Off, end))
	}
	if g.Seq != 0 {
		parts = append(parts, fmt.Sprintf("event %d", g.Seq))
	}
	return strings.Join(parts, ", ")
}

// summary says how much there is, and what isn't shown.
func (p *page) summary() []string {
	open := map[int]bool{}
	for _, w := range p.Windows {
		if w.to < 0 {
			open[w.row] = true
		}
	}
	lines, risky := uint64(0), uint64(0)
	for i, row := range p.Rows {
		n := row.n / p.log.Objects[row.object].unit()
		lines += n
		if open[i] {
			risky += n
		}
	}
	say := []string{count(uint64(len(p.log.Events)), "event"), count(lines, "line"), count(uint64(len(p.Gs)), "goroutine")}
	end := "at the end"
	if n := len(p.Events); p.before+n < len(p.log.Events) {
		end = fmt.Sprintf("after event %d", p.Events[n-1].seq)
	}
	if risky > 0 {
		say = append(say, count(risky, "line")+" at risk "+end)
	} else {
		say = append(say, "all durable "+end)
	}
	if p.log.Dropped > 0 {
		say = append(say, fmt.Sprintf("older events dropped: %d", p.log.Dropped))
	}
	if n := len(p.Events); n < len(p.log.Events) {
		say = append(say, fmt.Sprintf("this page holds events %d to %d of the log only", p.Events[0].seq, p.Events[n-1].seq))
	}
	return say
}

func count(n uint64, what string) string {
	if n != 1 {
		what += "s"
	}
	return fmt.Sprintf("%d %s", n, what)
}
