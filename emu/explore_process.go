package emu

import (
	"bytes"
	"encoding/gob"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"regexp"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"time"
)

// A worker process runs recoveries for the process that explores, which sends it images. It is
// the test binary, executed again for the one test; there Explore serves until its input
// ends. It may crash: the image that it was at is a finding then.

// workerVariable tells a process that it is a worker, and for which call of Explore: its
// number among those of the test, and the test.
const workerVariable = "PMEMLAB_EXPLORE_WORKER"

// exploreCalls counts the calls of Explore by test: a worker makes the same ones.
var exploreCalls struct {
	sync.Mutex
	of map[string]int
}

func countCall(test string) int {
	exploreCalls.Lock()
	defer exploreCalls.Unlock()
	if exploreCalls.of == nil {
		exploreCalls.of = map[string]int{}
	}
	exploreCalls.of[test]++
	return exploreCalls.of[test]
}

// request is what a worker is sent: one of its fields.
type request struct {
	Boot    *bootRequest
	Pages   []content // refresh
	Point   *pointRequest
	Image   []lineContent
	IsImage bool
}

type bootRequest struct {
	Blueprint []byte // JSON
	Pages     []content
}

// pointRequest are the cells of a point with their newest content.
type pointRequest struct {
	Point Point
	Acks  []string
	Cells []lineContent
}

// lineContent is a content of the cell, by its number.
type lineContent struct {
	Cell   int
	Object int
	Off    uint64
	Data   []byte
}

// answer is what a worker says of a request.
type answer struct {
	Failed  bool
	Failure string
	Err     string // the worker's own
	// Read are the lines that the recovery has read, if Known.
	Read  []readRange
	Known bool
}

// process is a crew member in another process.
type process struct {
	x     *explorer
	v     *crashVersion
	point *crashPoint
	cmd   *exec.Cmd
	in    *os.File
	out   *os.File
	enc   *gob.Encoder
	dec   *gob.Decoder
	log   *output
	last  answer
}

func newProcess(x *explorer) *process { return &process{x: x} }

// serveIfWorker says whether this is the process of a worker. If this is the call of Explore
// that it's for it serves, and doesn't return.
func serveIfWorker(opts *ExploreOptions, call int, do func(*Crashed) error) bool {
	v := os.Getenv(workerVariable)
	if v == workerName(call, opts.Test) {
		in, out := os.NewFile(3, "requests"), os.NewFile(4, "answers")
		if err := serve(in, out, do); err != nil {
			fmt.Fprintln(os.Stderr, "emu: worker of Explore:", err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	return v != ""
}

func workerName(call int, test string) string { return fmt.Sprintf("%d %s", call, test) }

// serve has requests answered.
func serve(in io.Reader, out io.Writer, do func(*Crashed) error) error {
	dec, enc := gob.NewDecoder(in), gob.NewEncoder(out)
	w := &served{do: do}
	for {
		err := errGoexit
		done := make(chan struct{})
		go func() { // a recovery may end it
			defer close(done)
			debug.SetPanicOnFault(true)
			err = w.answer(dec, enc)
		}()
		<-done
		if err != errGoexit {
			return err
		}
		a := answer{Failed: true, Failure: err.Error()}
		if err := w.restart(); err != nil {
			a.Err = err.Error()
		}
		if err := enc.Encode(a); err != nil {
			return err
		}
	}
}

// answer answers requests until there are no more.
func (w *served) answer(dec *gob.Decoder, enc *gob.Encoder) error {
	for {
		var r request
		if err := dec.Decode(&r); err == io.EOF {
			return w.close()
		} else if err != nil {
			return err
		}
		failure, err := w.handle(&r)
		var a answer
		if r.IsImage && w.stage != nil {
			a.Read, a.Known = w.stage.readBy()
		}
		if failure != nil {
			a.Failed, a.Failure = true, failure.Error()
		}
		if err != nil {
			a.Err = err.Error()
		}
		if err := enc.Encode(a); err != nil {
			return err
		}
	}
}

// served is the state of a worker.
type served struct {
	do    func(*Crashed) error
	boot  *crashVersion
	stage *stage
	point *pointRequest
}

func (w *served) close() error {
	if w.stage == nil {
		return nil
	}
	_ = w.stage.close() // what recoveries have left open was said
	w.stage = nil
	return nil
}

func (w *served) handle(r *request) (failure, err error) {
	switch {
	case r.Boot != nil:
		var b blueprint
		if err := json.Unmarshal(r.Boot.Blueprint, &b); err != nil {
			return nil, err
		}
		w.boot = &crashVersion{boot: &b, index: b.index(), pages: map[int]map[uint64]*mediaPage{}}
		w.pages(r.Boot.Pages)
		return nil, w.restart()
	case r.Pages != nil:
		w.clean()
		w.pages(r.Pages)
		for _, p := range r.Pages {
			if o := w.stage.objects[p.Object]; o != nil && p.Off < uint64(len(o.mem.b)) {
				copy(o.mem.b[p.Off:], p.Data)
			}
		}
		return nil, nil
	case r.Point != nil:
		w.clean()
		w.point = r.Point
		return nil, nil
	case r.IsImage:
		return w.image(r.Image)
	}
	return nil, errors.New("an empty request")
}

func (w *served) restart() error {
	_ = w.close()
	var err error
	w.stage, err = newStage(w.boot)
	return err
}

// pages takes what is durable for certain.
func (w *served) pages(pages []content) {
	for _, p := range pages {
		if w.boot.pages[p.Object] == nil {
			w.boot.pages[p.Object] = map[uint64]*mediaPage{}
		}
		page := &mediaPage{}
		copy(page.data[:], p.Data)
		w.boot.pages[p.Object][p.Off/pageSize] = page
	}
}

// clean sets the cells of the last point back.
func (w *served) clean() {
	if w.point == nil || w.stage == nil {
		return
	}
	for _, c := range w.point.Cells {
		if o := w.stage.objects[c.Object]; o != nil {
			copy(o.mem.b[c.Off:][:len(c.Data)], w.stage.background(c.Object, c.Off)[c.Off%pageSize:])
		}
	}
	w.point = nil
}

func (w *served) image(lost []lineContent) (failure, err error) {
	for _, cells := range [...][]lineContent{w.point.Cells, lost} {
		for _, c := range cells {
			copy(w.stage.objects[c.Object].mem.b[c.Off:], c.Data)
		}
	}
	ok, failure := w.stage.run(func(m *Machine) error {
		return w.do(&Crashed{Machine: m, Acks: w.point.Acks, Point: w.point.Point})
	})
	if ok {
		return failure, nil
	}
	if failure == nil {
		failure = w.stage.leftOpen()
	}
	return failure, w.restart()
}

// start executes the test again.
func (p *process) start() error {
	name := strings.Split(p.x.opts.Test, "/")
	for i := range name {
		name[i] = "^" + regexp.QuoteMeta(name[i]) + "$"
	}
	flags, rest := workerFlags(os.Args[1:])
	flags = append(flags, "-test.run="+strings.Join(name, "/"), "-test.timeout=0")
	p.cmd = exec.Command(os.Args[0], append(flags, rest...)...)
	p.cmd.Env = append(os.Environ(), workerVariable+"="+workerName(p.x.call, p.x.opts.Test))
	p.log = &output{}
	p.cmd.Stdout, p.cmd.Stderr = p.log, p.log
	requests, in, err := os.Pipe()
	if err != nil {
		return err
	}
	out, answers, err := os.Pipe()
	if err == nil {
		p.cmd.ExtraFiles = []*os.File{requests, answers}
		err = p.cmd.Start()
		_ = answers.Close()
	}
	_ = requests.Close()
	if err != nil {
		_ = in.Close()
		if out != nil {
			_ = out.Close()
		}
		p.cmd = nil
		return fmt.Errorf("emu: a process for recoveries: %w", err)
	}
	p.in, p.out = in, out
	p.enc, p.dec = gob.NewEncoder(in), gob.NewDecoder(out)
	return nil
}

// workerFlags are those of the arguments that can decide what a test does before Explore, as how
// often it runs does: all flags but those that say which tests run, end them, or write files.
// rest is what is behind the flags.
func workerFlags(args []string) (flags, rest []string) {
	for len(args) > 0 && len(args[0]) > 1 && args[0][0] == '-' && args[0] != "--" {
		name, _, whole := strings.Cut(strings.TrimLeft(args[0], "-"), "=")
		n := 1
		if f := flag.Lookup(name); f != nil && !whole && len(args) > 1 {
			if b, ok := f.Value.(interface{ IsBoolFlag() bool }); !ok || !b.IsBoolFlag() {
				n = 2
			}
		}
		name, test := strings.CutPrefix(name, "test.")
		if !test || !slices.Contains(ownFlags[:], name) && !strings.HasSuffix(name, "profile") &&
			!strings.HasPrefix(name, "bench") && !strings.HasPrefix(name, "fuzz") {
			flags = append(flags, args[:n]...)
		}
		args = args[n:]
	}
	return flags, args
}

// ownFlags aren't for workers, of the flags of tests.
var ownFlags = [...]string{
	"run", "list", "timeout", "failfast", "paniconexit0", "v", "artifacts", "outputdir", "testlogfile", "trace", "gocoverdir",
}

// ask sends a request and waits for the answer, or kills the process.
func (p *process) ask(r request, limit time.Duration) (answer, error) {
	if err := p.enc.Encode(r); err != nil {
		return answer{}, p.died(err)
	}
	timer := time.AfterFunc(limit, func() { _ = p.cmd.Process.Kill() })
	var a answer
	err := p.dec.Decode(&a)
	if !timer.Stop() && err != nil {
		_ = p.died(err)
		return a, &crashedProcess{fmt.Sprintf("it took more than %v, and was killed", limit)}
	}
	if err != nil {
		return a, p.died(err)
	}
	if a.Err != "" {
		return a, errors.New(a.Err)
	}
	return a, nil
}

// crashedProcess is the failure of a recovery that ended its process.
type crashedProcess struct{ how string }

func (c *crashedProcess) Error() string { return "recovery or check ended its process: " + c.how }

// died waits for the end of a process that doesn't answer any more.
func (p *process) died(err error) error {
	_ = p.in.Close()
	_ = p.cmd.Process.Kill() // if it lives, it has closed its answers
	state := p.cmd.Wait()
	_ = p.out.Close()
	p.cmd = nil
	how := fmt.Sprint(err)
	if state != nil {
		how = state.Error()
	} else if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		how = "exit status 0"
	}
	if text := p.log.String(); text != "" {
		how += "\n" + text
	}
	return &crashedProcess{how}
}

func (p *process) boot(v *crashVersion) error {
	p.v = v
	if p.cmd == nil {
		if err := p.start(); err != nil {
			return err
		}
	}
	plan, err := json.Marshal(v.boot)
	if err != nil {
		return err
	}
	b := &bootRequest{Blueprint: plan}
	for number, of := range v.pages {
		for i, page := range of {
			b.Pages = append(b.Pages, content{number, i * pageSize, page.data[:]})
		}
	}
	_, err = p.ask(request{Boot: b}, bootTimeout)
	return err
}

// bootTimeout is how long a worker may take for what is no recovery: it runs the test up to the
// call of Explore first.
const bootTimeout = 5 * time.Minute

func (p *process) refresh(pages []content) error {
	if p.cmd == nil {
		return p.boot(p.v)
	}
	if len(pages) == 0 {
		return nil
	}
	_, err := p.ask(request{Pages: pages}, bootTimeout)
	return err
}

func (p *process) begin(point *crashPoint) {
	own := *point
	version := *point.version
	own.version = &version
	p.point = &own
}

// cells are the cells of the point, or some of them, with the content chosen.
func (p *process) cells(choices []choice) []lineContent {
	images := p.point.version.images
	if choices == nil {
		for i := range images.Cells() {
			choices = append(choices, choice{Cell: i})
		}
	}
	lines := make([]lineContent, len(choices))
	for i, c := range choices {
		off, size, _ := images.Cell(c.Cell)
		object, at := p.point.version.where(off)
		lines[i] = lineContent{c.Cell, object, at, make([]byte, size)}
		images.Content(c.Cell, c.Version, lines[i].Data)
	}
	return lines
}

func (p *process) try(image chosen) (failure, err error) {
	if p.cmd == nil { // it died at the image before
		if err := p.boot(p.v); err != nil {
			return nil, err
		}
		p.point.told = false
	}
	if !p.point.told {
		r := pointRequest{p.point.Point, p.point.acks, p.cells(nil)}
		if _, err := p.ask(request{Point: &r}, bootTimeout); err != nil {
			return nil, err
		}
		p.point.told = true
	}
	r := request{IsImage: true}
	if len(image.choices) > 0 {
		r.Image = p.cells(image.choices)
	}
	a, err := p.ask(r, p.x.opts.Timeout)
	var crashed *crashedProcess
	if errors.As(err, &crashed) {
		return crashed, nil
	}
	p.last = a
	if a.Failed {
		return errors.New(a.Failure), nil
	}
	return nil, err
}

func (p *process) renew() error { return nil } // recoveries have another process's goroutines

func (p *process) read() ([]readRange, bool) { return p.last.Read, p.last.Known }

func (p *process) stop() error {
	if p.cmd == nil {
		return nil
	}
	_ = p.in.Close()
	done := time.AfterFunc(p.x.opts.Timeout, func() { _ = p.cmd.Process.Kill() })
	defer done.Stop()
	err := p.cmd.Wait()
	_ = p.out.Close()
	p.cmd = nil
	return err
}

// output keeps the beginning of what is written to it.
type output struct{ bytes.Buffer }

// maxOutput is how much of the output of a process that crashed is told.
const maxOutput = 8 << 10

func (t *output) Write(p []byte) (int, error) {
	if room := maxOutput - t.Len(); room > 0 {
		_, _ = t.Buffer.Write(p[:min(room, len(p))])
	}
	return len(p), nil
}
