// Package corpus reads and writes inputs in the form that go test has for them, so that
// whatever finds one, go test runs it again.
package corpus

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

const header = "go test fuzz v1"

// Encode is the text of a file that holds an input.
func Encode(input []byte) string { return fmt.Sprintf("%s\n[]byte(%q)\n", header, input) }

// Decode reads the text of a file. The error says what is wrong with it.
func Decode(text string) ([]byte, error) {
	first, rest, _ := strings.Cut(strings.ReplaceAll(text, "\r\n", "\n"), "\n")
	if first != header {
		return nil, fmt.Errorf("the first line is %q, want %q", first, header)
	}
	quoted, begins := strings.CutPrefix(strings.TrimSpace(rest), "[]byte(")
	quoted, ends := strings.CutSuffix(quoted, ")")
	if !begins || !ends {
		return nil, errors.New("behind the first line there isn't one []byte(\"…\") and nothing else")
	}
	s, err := strconv.Unquote(quoted)
	if err != nil {
		return nil, fmt.Errorf("%s is no string of Go", quoted)
	}
	return []byte(s), nil
}

// Name is what the file of an input is called.
func Name(input []byte) string {
	return fmt.Sprintf("%x", sha256.Sum256([]byte(Encode(input))))[:16]
}

// Dir is the directory below dir that go test looks for the inputs of a target in.
func Dir(dir, target string) string { return filepath.Join(dir, "Fuzz"+target) }

// Write puts an input into the corpus of a target below dir, and says where it is.
func Write(dir, target string, input []byte) (path string, err error) {
	at := Dir(dir, target)
	if err := os.MkdirAll(at, 0o777); err != nil {
		return "", err
	}
	path = filepath.Join(at, Name(input))
	return path, os.WriteFile(path, []byte(Encode(input)), 0o666)
}

// Entry is an input of a corpus.
type Entry struct {
	Path  string
	Input []byte
}

// Read reads the corpus of a target below dir, in the order of names. One that isn't there
// is empty.
func Read(dir, target string) ([]Entry, error) {
	files, err := os.ReadDir(Dir(dir, target))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var entries []Entry
	for _, f := range files {
		path := filepath.Join(Dir(dir, target), f.Name())
		input, err := ReadFile(path)
		if err != nil {
			return nil, err
		}
		entries = append(entries, Entry{path, input})
	}
	return entries, nil
}

// ReadFile reads the input in a file.
func ReadFile(path string) ([]byte, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	input, err := Decode(string(text))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return input, nil
}
