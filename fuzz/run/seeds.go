package main

import (
	"archive/zip"
	"errors"
	"fmt"
	"os"

	"pmemlab/fuzz"
	"pmemlab/fuzz/corpus"
)

// listTargets prints the names of the targets.
func listTargets(args []string) error {
	if len(args) > 0 {
		return fmt.Errorf("%q: no argument is wanted", args)
	}
	targets, err := choose("", false)
	for _, t := range targets {
		fmt.Println(t.Name)
	}
	return err
}

// seeds writes the corpus of a target as OSS-Fuzz wants it: a zip of files that are inputs.
func seeds(args []string) (err error) {
	f := flags("seeds")
	out := f.String("o", "", "file to write")
	dir := f.String("corpus", "fuzz/testdata/fuzz", "where the corpora are")
	_ = f.Parse(args)
	if *out == "" || f.NArg() != 1 {
		return errors.New("-o and one target are needed")
	}
	t, err := fuzz.Find(f.Arg(0))
	if err != nil {
		return err
	}
	entries, err := corpus.Read(*dir, t.Name)
	if err != nil {
		return err
	}
	if t.Seeds != nil {
		for _, s := range t.Seeds() {
			entries = append(entries, corpus.Entry{Path: corpus.Name(s), Input: s})
		}
	}
	file, err := os.Create(*out)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	z := zip.NewWriter(file)
	written := map[string]bool{}
	for _, e := range entries {
		name := corpus.Name(e.Input)
		if written[name] {
			continue
		}
		written[name] = true
		w, err := z.Create(name)
		if err != nil {
			return err
		}
		if _, err := w.Write(e.Input); err != nil {
			return err
		}
	}
	return z.Close()
}
