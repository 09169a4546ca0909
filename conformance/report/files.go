package report

import (
	"bufio"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
)

// WriteFiles writes conformance.json, conformance.html and junit.xml into a
// directory, which it makes if need be. A name that ends in .json is that of a file for the
// first alone.
func (r Report) WriteFiles(dir string) error {
	if strings.HasSuffix(dir, ".json") {
		if err := os.MkdirAll(filepath.Dir(dir), 0o755); err != nil {
			return err
		}
		return writeFile(dir, r.WriteJSON)
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	for _, f := range []struct {
		name  string
		write func(io.Writer) error
	}{
		{"conformance.json", r.WriteJSON},
		{"conformance.html", r.WriteHTML},
		{"junit.xml", r.WriteJUnit},
	} {
		if err := writeFile(filepath.Join(dir, f.name), f.write); err != nil {
			return err
		}
	}
	return nil
}

func writeFile(path string, write func(io.Writer) error) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	w := bufio.NewWriter(f)
	return errors.Join(write(w), w.Flush(), f.Close())
}
