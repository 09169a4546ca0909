// Package command is the command line of the conformance suite: its flags, and what it
// does beside running cases. The program itself is the test binary of package suite.
package command

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"

	"pmemlab/conformance"
)

// Options are the flags. Each has a variable of the environment too, but for the two that
// let data be destroyed: -pmem.fsdax is PMEMLAB_FSDAX, -pmem.files.tmpfs is
// PMEMLAB_FILES_TMPFS. A flag that is given wins.
type Options struct {
	SubjectName   string
	TargetNames   list
	Reports       string
	Divergences   string
	Tmpfs, Disk   string
	Hardware      conformance.HardwareConfig
	Require       list
	Declare       list
	Procs         string
	ShardText     string
	List, Doctor  bool
	Merge, Diff   bool
	devDax, wiped list

	flags   *flag.FlagSet
	subject conformance.Subject
	targets []conformance.Target
}

// list is a flag of words separated by commas; it may be given several times.
type list []string

func (l *list) String() string { return strings.Join(*l, ",") }

func (l *list) Set(text string) error {
	for word := range strings.SplitSeq(text, ",") {
		if word == "" || slices.Contains(*l, word) {
			return fmt.Errorf("%q has an empty word, or one twice", text)
		}
		*l = append(*l, word)
	}
	return nil
}

// prefix is that of the flags, variablePrefix that of their variables.
const (
	prefix         = "pmem."
	variablePrefix = "PMEMLAB_"
)

// Register adds the flags.
func (o *Options) Register(f *flag.FlagSet) {
	o.flags = f
	f.StringVar(&o.SubjectName, "pmem.subject", "go", "the `library` to check: go, or c where the program was built with the tag libpmem2")
	f.Var(&o.TargetNames, "pmem.target", "check on these `targets`: emulated, files, hardware (default emulated; hardware if a device or directory of it is given)")
	f.StringVar(&o.Reports, "pmem.reports", "", "write conformance.json, conformance.html and junit.xml to this `directory`; a name that ends in .json is a file for the first alone")
	f.StringVar(&o.Divergences, "pmem.divergences", "", "write what the C library does otherwise than its pages, each with a program that shows it, to this `file`; needs -pmem.subject=c and a C compiler")
	f.StringVar(&o.Tmpfs, "pmem.files.tmpfs", "", "`directory` on a tmpfs for the target files; looked for if empty")
	f.StringVar(&o.Disk, "pmem.files.disk", "", "`directory` on a disk for the target files; looked for if empty")
	f.Var(&o.devDax, "pmem.devdax", "`devices` DAX of the target hardware: /dev/dax0.0; read only unless -pmem.destroy names them")
	f.StringVar(&o.Hardware.FSDax, "pmem.fsdax", "", "`directory` on a file system with DAX, for the target hardware")
	f.StringVar(&o.Hardware.PageFS, "pmem.pagefs", "", "`directory` on a file system without DAX, for the target hardware")
	f.Var(&o.wiped, "pmem.destroy", "`devices` of -pmem.devdax, spelled the same, whose data may be destroyed")
	f.BoolVar(&o.Hardware.DestroyContents, "pmem.destroy-contents", false, "destroy it even if it holds a pool, a file system, a part of an array or something unknown at its beginning")
	f.BoolVar(&o.Hardware.DestroyUnguarded, "pmem.destroy-unguarded", false, "let the library c use the devices too, which nothing holds back from destroying them; needs all of -pmem.devdax in -pmem.destroy")
	f.Var(&o.Require, "pmem.require", "fail if one of these `capabilities` is lacking: devdax,mapsync")
	f.Var(&o.Declare, "pmem.declare", "fail unless these `facts` are so: mapsync,!eadr,devdax.align=2097152")
	f.StringVar(&o.Procs, "pmem.procs", "1", "run in this `number` of processes at the same time; auto is one for each CPU")
	f.StringVar(&o.ShardText, "pmem.shard", "", "run only this `part` of the whole: 2/3 is the second of three, 1+1/3 too; -pmem.merge puts them together")
	f.BoolVar(&o.List, "pmem.list", false, "list the rows of the contract, what each needs and which cases check it")
	f.BoolVar(&o.Doctor, "pmem.doctor", false, "tell what this machine and the targets offer, and what would be not supported")
	f.BoolVar(&o.Merge, "pmem.merge", false, "make one report of the JSON reports in the arguments")
	f.BoolVar(&o.Diff, "pmem.diff", false, "tell in which rows two JSON reports differ; the exit code is 1 if they do")
}

// FromEnvironment sets each flag that wasn't given from its variable. It is to be called
// when the flags have been parsed.
func (o *Options) FromEnvironment(lookup func(string) (string, bool)) error {
	given := map[string]bool{}
	o.flags.Visit(func(f *flag.Flag) { given[f.Name] = true })
	var errs []error
	o.flags.VisitAll(func(f *flag.Flag) {
		if !strings.HasPrefix(f.Name, prefix) || given[f.Name] {
			return
		}
		name := variable(f.Name)
		if strings.HasPrefix(f.Name, "pmem.destroy") {
			if value, ok := lookup(name); ok && value != "" {
				errs = append(errs, fmt.Errorf("%s=%s: what may be destroyed has to be said by the flag -%s", name, value, f.Name))
			}
			return
		}
		if value, ok := lookup(name); ok && value != "" {
			if err := f.Value.Set(value); err != nil {
				errs = append(errs, fmt.Errorf("%s=%s: %w", name, value, err))
			}
		}
	})
	return errors.Join(errs...)
}

// variable is the name of a flag in the environment.
func variable(flag string) string {
	return variablePrefix + strings.ToUpper(strings.NewReplacer(".", "_", "-", "_").Replace(strings.TrimPrefix(flag, prefix)))
}

// Check says what in the options contradicts itself.
func (o *Options) Check() error {
	modes := 0
	for _, on := range []bool{o.List, o.Doctor, o.Merge, o.Diff} {
		if on {
			modes++
		}
	}
	args := o.flags.Args()
	procs, err := o.processes()
	_, shardErr := o.Shard()
	switch {
	case err != nil:
		return err
	case shardErr != nil:
		return fmt.Errorf("-pmem.shard: %w", shardErr)
	case o.Divergences != "" && o.SubjectName != "c":
		return errors.New("-pmem.divergences is about the C library: it needs -pmem.subject=c")
	case modes > 1:
		return errors.New("of -pmem.list, -pmem.doctor, -pmem.merge and -pmem.diff only one can be done at a time")
	case o.Merge && len(args) == 0:
		return errors.New("-pmem.merge wants JSON reports as arguments")
	case o.Diff && len(args) != 2:
		return fmt.Errorf("-pmem.diff wants two JSON reports as arguments, the old one and the new one; there are %d", len(args))
	case o.Hardware.DestroyContents && len(o.wiped) == 0:
		return errors.New("-pmem.destroy-contents needs -pmem.destroy, which names the device")
	case !o.Merge && !o.Diff && len(args) > 0:
		return fmt.Errorf("the argument %q is none: what is to be done is said by flags", args[0])
	case procs > 1 && o.ShardText != "":
		return errors.New("-pmem.procs makes shards of its own: with -pmem.shard it must be 1")
	case procs > 1 && slices.Contains(o.targetNames(), hardware):
		return errors.New("a device can be used by one process: on the target hardware -pmem.procs must be 1")
	}
	return nil
}

// processes is how many -pmem.procs asks for.
func (o *Options) processes() (int, error) {
	if o.Procs == "auto" {
		return runtime.NumCPU(), nil
	}
	n, err := strconv.Atoi(o.Procs)
	if err != nil || n < 1 || n > 1024 {
		return 0, fmt.Errorf("-pmem.procs=%s: want auto or a number from 1 to 1024", o.Procs)
	}
	return n, nil
}

// Shard is that of -pmem.shard.
func (o *Options) Shard() (conformance.Shard, error) { return conformance.ParseShard(o.ShardText) }

// Subject is the library to check.
func (o *Options) Subject() conformance.Subject { return o.subject }

// Targets are where to check it.
func (o *Options) Targets() []conformance.Target { return o.targets }

// subjectNamed is that of -pmem.subject. c is the C library, or nil in a program without it.
func (o *Options) subjectNamed(c conformance.Subject) (conformance.Subject, error) {
	switch o.SubjectName {
	case "go":
		return conformance.Go, nil
	case "c":
		if c == nil {
			return nil, errors.New("-pmem.subject=c: this program was built without the C library, which takes cgo, libpmem2-dev and the build tag libpmem2")
		}
		return c, nil
	}
	return nil, fmt.Errorf("-pmem.subject=%s: want go or c", o.SubjectName)
}

// The targets.
const (
	emulated = "emulated"
	files    = "files"
	hardware = "hardware"
)

// targetNames are those of -pmem.target, or the default.
func (o *Options) targetNames() []string {
	if len(o.TargetNames) > 0 {
		return o.TargetNames
	}
	if len(o.devDax) > 0 || o.Hardware.FSDax != "" || o.Hardware.PageFS != "" {
		return []string{hardware}
	}
	return []string{emulated}
}

// targetsNamed are those of -pmem.target.
func (o *Options) targetsNamed() ([]conformance.Target, error) {
	o.Hardware.DevDax, o.Hardware.Destroy = o.devDax, o.wiped
	names := o.targetNames()
	for _, given := range []struct{ value, flag, target string }{
		{strings.Join(o.devDax, ","), "devdax", hardware}, {strings.Join(o.wiped, ","), "destroy", hardware},
		{o.Hardware.FSDax, "fsdax", hardware}, {o.Hardware.PageFS, "pagefs", hardware},
		{o.Tmpfs, "files.tmpfs", files}, {o.Disk, "files.disk", files},
	} {
		if given.value != "" && !slices.Contains(names, given.target) {
			return nil, fmt.Errorf("-pmem.%s=%s is for the target %s, -pmem.target is %s", given.flag, given.value, given.target, strings.Join(names, ","))
		}
	}
	var all []conformance.Target
	for _, name := range names {
		switch name {
		case emulated:
			all = append(all, conformance.Emulated())
		case files:
			t := conformance.Files(conformance.FilesConfig{Tmpfs: o.Tmpfs, Disk: o.Disk})
			for variant, dir := range map[string]string{"tmpfs": o.Tmpfs, "disk": o.Disk} {
				if why := t.(conformance.VariantTarget).LacksIn(variant, conformance.NeedFile); dir != "" && why != "" {
					return nil, fmt.Errorf("-pmem.files.%s=%s: %s", variant, dir, why)
				}
			}
			all = append(all, t)
		case hardware:
			t, err := conformance.Hardware(o.Hardware)
			if err != nil {
				return nil, err
			}
			all = append(all, t)
		default:
			return nil, fmt.Errorf("-pmem.target: %q isn't a target; targets are %s, %s and %s", name, emulated, files, hardware)
		}
	}
	return all, nil
}

// underGitHub reports whether GitHub Actions runs the program.
func underGitHub() bool { return os.Getenv("GITHUB_ACTIONS") == "true" }
