package main

// patch is one change to a file of the standard library.
type patch struct {
	file     string // below GOROOT/src
	old, new string
	count    int // how often old stands in the file; 0 is once
}

// release is what has to be changed in one minor version of Go for linux/amd64. The text
// of each anchor was compared with that version; another one may do something else there.
type release []patch

// releases has a row for each minor version that was tried.
var releases = map[string]release{
	"1.26": {
		// No TSan is linked, so there's nothing to import from it, and no cgo to need.
		{file: "runtime/race.go", old: "//go:cgo_import_static __tsan_", new: "// not imported: __tsan_", count: 39},
		{file: "runtime/race.go", old: "\tif !iscgo && GOOS != \"darwin\" {\n", new: "\tif false {\n"},
		{file: "runtime/race.go", old: "func racefini() {\n", new: "func racefini() {\n\treturn\n"},
		{file: "runtime/race/race.go", old: "\nimport \"C\"\n", new: "\n"},
		{file: "runtime/race/race_v1_amd64.go", old: "import _ \"runtime/race/internal/amd64v1\"\n", new: ""},
		{file: "runtime/race/race_v3_amd64.go", old: "import _ \"runtime/race/internal/amd64v3\"\n", new: ""},
		{file: "runtime/race_amd64.s",
			old: "TEXT\truntime·racecall(SB), NOSPLIT, $0-0\n",
			new: "TEXT\truntime·racecall(SB), NOSPLIT, $0-0\n\tRET\n"},
		{file: "runtime/race_amd64.s",
			old: "TEXT\tracefuncenter<>(SB), NOSPLIT|NOFRAME, $0-0\n",
			new: "TEXT\tracefuncenter<>(SB), NOSPLIT|NOFRAME, $0-0\n\tRET\n"},
		{file: "runtime/race_amd64.s",
			old: "TEXT\truntime·racefuncexit(SB), NOSPLIT, $0-0\n",
			new: "TEXT\truntime·racefuncexit(SB), NOSPLIT, $0-0\n\tRET\n"},

		// Loads and stores: outside the watched memory, return at once.
		{file: "runtime/race_amd64.s",
			old: "TEXT\tracecalladdr<>(SB), NOSPLIT, $0-0\n",
			new: `TEXT	racecalladdr<>(SB), NOSPLIT, $0-0
	CMPQ	RARG1, runtime·exactLo(SB)
	JB	exactret
	CMPQ	RARG1, runtime·exactHi(SB)
	JAE	exactret
	JMP	AX
exactret:
	RET
`},
		// Atomics: the plain operation, unless the address may be watched or the goroutine
		// has a store to finish first.
		{file: "runtime/race_amd64.s",
			old: "\tMOVQ\t16(SP), R12\n\tMOVBLZX\t(R12), R13\n",
			new: `	MOVQ	16(SP), R12
	MOVBLZX	(R12), R13
	LEAQ	16(SP), RARG3	// arguments
	CMPQ	g_racectx(R14), $0
	JNE	exactslow
	CMPQ	R12, runtime·exactLo(SB)
	JB	exactfast
	CMPQ	R12, runtime·exactHi(SB)
	JAE	exactfast
exactslow:
	JMP	exactatomic(SB)
exactfast:
	JMP	AX
`},

		// What orders goroutines finishes the store before it.
		{file: "runtime/race.go",
			old: "func racereleaseg(gp *g, addr unsafe.Pointer) {\n",
			new: "func racereleaseg(gp *g, addr unsafe.Pointer) {\n\texactSync(gp)\n"},
		{file: "runtime/race.go",
			old: "func racereleaseacquireg(gp *g, addr unsafe.Pointer) {\n",
			new: "func racereleaseacquireg(gp *g, addr unsafe.Pointer) {\n\texactSync(gp)\n"},
		{file: "runtime/race.go",
			old: "func racereleasemergeg(gp *g, addr unsafe.Pointer) {\n",
			new: "func racereleasemergeg(gp *g, addr unsafe.Pointer) {\n\texactSync(gp)\n"},
		{file: "runtime/race.go",
			old: "\tracecall(&__tsan_go_start, spawng.racectx, ",
			new: "\texactSync(spawng)\n\tracecall(&__tsan_go_start, spawng.racectx, "},
		{file: "runtime/race.go", old: "func racegoend() {\n", new: "func racegoend() {\n\texactSync(getg())\n"},
		{file: "runtime/race.go",
			old: "func racectxend(racectx uintptr) {\n",
			new: "func racectxend(racectx uintptr) {\n\texactSync(getg())\n"},

		// clear(slice) isn't instrumented.
		{file: "runtime/memclr_amd64.s",
			old: "TEXT runtime·memclrNoHeapPointers<ABIInternal>(SB), NOSPLIT, $0-16\n",
			new: `TEXT runtime·memclrNoHeapPointers<ABIInternal>(SB), NOSPLIT, $0-16
	CMPQ	AX, runtime·exactLo(SB)
	JB	exactskip
	CMPQ	AX, runtime·exactHi(SB)
	JAE	exactskip
	CALL	exactclear(SB)
exactskip:
`},

		// A hook that reads unreadable memory goes on.
		{file: "runtime/signal_unix.go",
			old: "func sighandler(sig uint32, info *siginfo, ctxt unsafe.Pointer, gp *g) {\n",
			new: "func sighandler(sig uint32, info *siginfo, ctxt unsafe.Pointer, gp *g) {\n\tif exactFault(sig, info, ctxt) {\n\t\treturn\n\t}\n"},
	},
}
