package main

import (
	"errors"
	"fmt"
	"os"

	"pmemlab/fuzz"
	"pmemlab/fuzz/corpus"
)

// replay runs one input.
func replay(args []string) error {
	f := flags("replay")
	raw := f.Bool("raw", false, "the file is the input, as libFuzzer writes it")
	_ = f.Parse(args)
	if f.NArg() != 2 {
		return errors.New(`want a target, and a file of a corpus or a string of Go: replay Map '"\x01"'`)
	}
	read := corpus.ReadFile
	if *raw {
		read = os.ReadFile
	}
	input, err := read(f.Arg(1))
	if errors.Is(err, os.ErrNotExist) && !*raw {
		if input, err = corpus.Decode("go test fuzz v1\n[]byte(" + f.Arg(1) + ")"); err != nil {
			return fmt.Errorf("%s is neither a file nor a string of Go", f.Arg(1))
		}
	}
	if err != nil {
		return err
	}
	if err := fuzz.Replay(f.Arg(0), string(input)); err != nil {
		return err
	}
	fmt.Println("nothing wrong")
	return nil
}
