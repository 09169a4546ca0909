package emu

import (
	"errors"
	"fmt"
	"hash/fnv"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"pmemlab/emu/trace"
)

// SavedFiles are the files that a finding was saved in, by their paths. One that couldn't be
// written is "".
type SavedFiles struct {
	// Image is the state of the media, for [Load]; "" of findings without a power failure.
	Image string
	// Trace is the trace as JSON lines, for [trace.ReadJSON]; Pmemcheck is the same as a store
	// log of pmemcheck, for pmreorder; Page shows it in a browser. Trace and Page point out
	// the guilty lines.
	Trace, Pmemcheck, Page string
}

// SaveTo writes what replays the finding to the folder dir, which is made if it isn't there:
// the image and the trace until the failure. The names of the files tell the finding from
// others; those of the same finding, as of an earlier run of the test, are replaced.
//
// The error names each file that couldn't be written; the others were.
func (f *CrashFinding) SaveTo(dir string) (SavedFiles, error) {
	name := "crash-" + f.Point.What
	if len(f.Lost) > 0 {
		name += fmt.Sprintf("-%s-%#x-%s", filepath.Base(f.Lost[0].Object), f.Lost[0].Off, f.Lost[0].Missing)
	}
	what := fmt.Sprint(f.Lost, len(f.Acks))
	if len(f.Lost) == 0 {
		what += cause(f.Err)
	}
	if len(f.Names) > 0 {
		what += fmt.Sprint(f.Names)
	}
	places := [][]trace.Frame{f.Point.Callers}
	for _, l := range f.Lost {
		places = append(places, l.Store, l.Seen, l.Flush, l.Fence)
	}
	return save(dir, fileName(name, what, places...), firstLine(f.String()), f.Log(), f.Image)
}

// SaveFindings writes the trace with the findings pointed out to the folder dir, as
// [CrashFinding.SaveTo] does.
func (m *Machine) SaveFindings(dir string, findings []Finding) (SavedFiles, error) {
	l := m.Trace()
	name, title := "findings", fmt.Sprintf("%d findings", len(findings))
	var places [][]trace.Frame
	for _, f := range findings {
		o := slices.IndexFunc(l.Objects, func(o trace.Object) bool { return f.Object != "" && o.Name == f.Object })
		l.Guilty = append(l.Guilty, trace.Guilty{Object: o, Off: f.Off, Len: f.Len, Seq: f.Seq, Title: string(f.Rule), Text: f.String()})
		places = append(places, f.Callers, f.Related)
	}
	if len(findings) > 0 {
		name += "-" + string(findings[0].Rule)
		title += ", the first: " + firstLine(findings[0].String())
	}
	return save(dir, fileName(name, title, places...), title, l, nil)
}

func firstLine(s string) string {
	first, _, _ := strings.Cut(s, "\n")
	return first
}

// fileName is the name without what a file system may not like, and with a checksum of all that
// tells findings apart: what is known, and where.
func fileName(name, what string, places ...[]trace.Frame) string {
	sum := fnv.New32a()
	_, _ = io.WriteString(sum, what)
	for _, frames := range places {
		_, _ = fmt.Fprintln(sum, frames)
	}
	name = strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '.' || r == '-' {
			return r
		}
		return '_'
	}, name)
	return fmt.Sprintf("%s-%08x", name[:min(len(name), maxFileName)], sum.Sum32())
}

// maxFileName bounds a name in bytes, far from what file systems refuse.
const maxFileName = 100

// save writes the files of a finding; without an image if that's nil.
func save(dir, name, title string, l *trace.Log, img *Image) (SavedFiles, error) {
	var s SavedFiles
	if dir == "" {
		return s, errors.New(`emu: the folder for a finding is "", allowed is the path of one`)
	}
	if err := os.MkdirAll(dir, 0o777); err != nil {
		return s, fmt.Errorf("emu: the folder for a finding: %w", err)
	}
	var errs []error
	for _, file := range []struct {
		path   *string
		ending string
		write  func(io.Writer) error
	}{
		{&s.Image, ".image", func(w io.Writer) error { return img.Save(w) }},
		{&s.Trace, ".jsonl", l.WriteJSON},
		{&s.Pmemcheck, ".pmemcheck", l.WritePmemcheck},
		{&s.Page, ".html", func(w io.Writer) error { return l.WriteHTML(w, title) }},
	} {
		if file.path == &s.Image && img == nil {
			continue
		}
		path := filepath.Join(dir, name+file.ending)
		if err := writeFile(path, file.write); err != nil {
			errs = append(errs, fmt.Errorf("emu: %s: %w", path, err))
			continue
		}
		*file.path = path
	}
	return s, errors.Join(errs...)
}

// writeFile leaves no half of a file.
func writeFile(path string, write func(io.Writer) error) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	if err := errors.Join(write(f), f.Close()); err != nil {
		_ = os.Remove(path)
		return err
	}
	return nil
}
