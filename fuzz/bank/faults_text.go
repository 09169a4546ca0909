package bank

// textFaults are in what is made of texts and files that others have written.
var textFaults = []Fault{
	{
		"number-colon", "the character behind 9 counts as a digit", "pmem2/sysfs_number.go",
		"case digit > 9:", "case digit > 10:",
	},
	{
		"number-overflow", "the last digit of a number too large isn't noticed", "pmem2/sysfs_number.go",
		"case n > (math.MaxUint64-digit)/10:", "case n > math.MaxUint64/10:",
	},
	{
		"number-hex-go", "an address may be a number as Go has it", "pmem2/sysfs_number.go",
		"strconv.ParseUint(digits, 16, 64)", `strconv.ParseUint("0x"+digits, 0, 64)`,
	},
	{
		"number-node-wide", "a node of more than 32 bits loses the upper ones", "pmem2/sysfs_number.go",
		"strconv.ParseInt(text, 10, 32)", "strconv.ParseInt(text, 10, 64)",
	},
	{
		"size-blanks", "blanks around a size are accepted", "pmem2/file_type.go",
		`n, errno := parseDecimal(strings.TrimSuffix(text, "\n"))`, `n, errno := parseDecimal(strings.TrimSpace(text))`,
	},
	{
		"align-below-page", "an alignment may be less than a page", "pmem2/file_type.go",
		"align&(align-1) != 0 || align < page {", "align&(align-1) != 0 {",
	},
	{
		"subsystem-suffix", "a subsystem whose name ends in dax is device DAX", "pmem2/file_type.go",
		`path.Base(subsystem) == "dax"`, `strings.HasSuffix(path.Base(subsystem), "dax")`,
	},
	{
		"usc-zero", "a count of 0 counts as an overflow", "pmem2/source_device.go",
		"errno == 0 && sum+n < sum:", "errno == 0 && sum+n <= sum:",
	},
	{
		"usc-sign", "a count above 2^31 is extended with its sign", "pmem2/source_device.go",
		"n = uint64(uint32(signed))", "n = uint64(signed)",
	},
	{
		"id-buffer-exact", "a buffer as long as the identifier is too small", "pmem2/source_device.go",
		"case len(buf) < len(id):", "case len(buf) <= len(id):",
	},
	{
		"mapping-nameless", "a mapping without the name of an NVDIMM is accepted", "pmem2/region.go",
		`if !found || name == "" {`, "if !found {",
	},
	{
		"region-outermost", "the outermost region of a path is taken instead of the innermost", "pmem2/region.go",
		`end > 0 && name == "";`, "end > 0;",
	},
	{
		"region-no-number", "anything that begins with region is one", "pmem2/granularity.go",
		"return found && errno != syscall.EINVAL", "return found && errno != syscall.EBADF",
	},
	{
		"domain-prefix", "a persistence domain that only begins with cpu_cache protects the caches", "pmem2/granularity.go",
		`domain != "cpu_cache"`, `!strings.HasPrefix(domain, "cpu_cache")`,
	},
	{
		"deep-flush-unless-zero", "a region is told to flush unless it says 0", "pmem2/deep_flush.go",
		`text != "1"`, `text == "0"`,
	},
	{
		"sectors-wrap", "sector + count times 512 wraps round", "pmem2/region.go",
		"n > math.MaxInt64/sectorSize-start", "n > math.MaxInt64/sectorSize",
	},
	{
		"sectors-cut-off", "a list that fills the page to its last byte isn't seen to be cut off", "pmem2/region.go",
		"uint64(len(text)) >= r.machine.PageSize()-1", "uint64(len(text)) >= r.machine.PageSize()",
	},
	{
		"bad-block-partition", "the sector where a partition starts wraps round in bytes", "pmem2/bad_block.go",
		"first > math.MaxInt64/sectorSize", "first > math.MaxInt64",
	},
	{
		"bad-block-bounds", "a namespace can't start where its region does", "pmem2/bad_block.go",
		"if d.start < regionStart ||", "if d.start <= regionStart ||",
	},
	{
		"bad-block-end-inclusive", "a bad block right behind an extent is one of no bytes in it", "pmem2/bad_block.go",
		"if from >= to {", "if from > to {",
	},
	{
		"bad-block-round-up", "a bad block that ends a unit takes the next one too", "pmem2/bad_block.go",
		"(to+unit-1)/unit*unit", "(to+unit)/unit*unit",
	},
	{
		"bad-block-merge-neighbours", "bad blocks that only touch become one", "pmem2/bad_block.go",
		"b.Offset < merged[n-1].Offset+merged[n-1].Length", "b.Offset <= merged[n-1].Offset+merged[n-1].Length",
	},
	{
		"plan-index-from-one", "OnIndex counts from 1", "emu/fault/predicate.go",
		"return p.next(counts) == p.n", "return p.next(counts)+1 == p.n",
	},
	{
		"plan-from-exclusive", "FromIndex leaves its first call out", "emu/fault/predicate.go",
		"return p.next(counts) >= p.n", "return p.next(counts) > p.n",
	},
	{
		"plan-or-stops", "what stands behind the first that holds in Or doesn't count the call", "emu/fault/predicate.go",
		"one = q.holds(c, counts) || one", "one = one || q.holds(c, counts)",
	},
	{
		"plan-and-as-written", "And asks what counts before what looks at the call", "emu/fault/predicate.go",
		"for _, q := range p.ordered {", "for _, q := range p.operands {",
	},
	{
		"plan-flags-any-call", "a flag is looked for in the flags of other calls", "emu/fault/predicate.go",
		"return c.Op != f.op || c.Flags&f.mask != f.value", "return c.Flags&f.mask != f.value",
	},
	{
		"plan-glob-unquoted", "a glob is printed without escapes", "emu/fault/predicate.go",
		`fmt.Sprintf("(PathMatch %q)", p.glob)`, `"(PathMatch \"" + p.glob + "\")"`,
	},
	{
		"plan-last-rule", "the last rule that chooses a call counts, not the first", "emu/fault/platform.go",
		"r.when.holds(c, r.reached)) && errno == 0 {", "r.when.holds(c, r.reached)) {",
	},
	{
		"plan-number-go", "a number of a plan may be hexadecimal", "emu/fault/parse.go",
		"strconv.ParseUint(p.tok, 10, 64)", "strconv.ParseUint(p.tok, 0, 64)",
	},
	{
		"plan-errno-wide", "an errno may have 32 bits", "emu/fault/errno.go",
		"strconv.ParseUint(name, 10, 31)", "strconv.ParseUint(name, 10, 32)",
	},
	{
		"plan-depth", "the deepest predicate that is allowed is refused", "emu/fault/parse.go",
		"p.depth > maxDepth {", "p.depth >= maxDepth {",
	},
	{
		"image-checksum", "of the checksum of an image only the length counts", "emu/image_file.go",
		"if !bytes.Equal(got, want) {", "if len(got) != len(want) {",
	},
	{
		"image-piece-past-end", "of a piece the offset and the length are held against the size alone", "emu/image_file.go",
		"case off > size || n > size-off:", "case off > size || n > size:",
	},
	{
		"image-piece-overlap", "a piece may begin with the last byte of the one before", "emu/image_file.go",
		"object == c.object && off < c.end:", "object == c.object && off+1 < c.end:",
	},
	{
		"image-piece-longest", "a piece may be a byte longer than the longest", "emu/image_file.go",
		"case n == 0 || n > maxImagePiece:", "case n == 0 || n > maxImagePiece+1:",
	},
	{
		"image-piece-order", "the objects of pieces may descend", "emu/image_file.go",
		"case object < c.object || object == c.object", "case object == c.object",
	},
	{
		"image-page-offset", "content gets to the wrong place in its page", "emu/image.go",
		"copy(page.data[off%pageSize:], data)", "copy(page.data[off%sectorSize:], data)",
	},
	{
		"image-bad-past-end", "bad bytes may reach behind their object", "emu/image.go",
		"b.Off > o.size || b.Len > o.size-b.Off {", "b.Off > o.size || b.Len > o.size {",
	},
	{
		"trace-seq-falls", "the number of an event may be one less than the one before", "emu/trace/check.go",
		"case !first && e.Seq < last:", "case !first && e.Seq+1 < last:",
	},
	{
		"trace-range-wraps", "the end of a range isn't looked at", "emu/trace/check.go",
		"off > maxOffset || n > maxOffset-off {", "off > maxOffset || n > maxOffset {",
	},
	{
		"trace-guilty-object", "a guilty line may be of the object behind the last", "emu/trace/check.go",
		"g.Object < -1 || g.Object >= len(l.Objects) {", "g.Object < -1 || g.Object > len(l.Objects) {",
	},
	{
		"trace-data-longer", "a store may have more data than it is long", "emu/trace/check.go",
		"uint64(len(e.Data)) != e.Len:", "uint64(len(e.Data)) < e.Len:",
	},
	{
		"trace-behind-value", "a character behind the value of a line is accepted", "emu/trace/jsonlines.go",
		"len(rest) > 0 {", "len(rest) > 1 {",
	},
	{
		"trace-version", "a trace of a later version is read", "emu/trace/jsonlines.go",
		"if h.Version != jsonVersion {", "if h.Version < jsonVersion {",
	},
	{
		"report-sums", "the sums of a report are right if their sum is", "conformance/report/read.go",
		"sum != run.Summary {", "sum.Total() != run.Summary.Total() {",
	},
	{
		"report-row-twice", "a row that passes may be there twice", "conformance/report/read.go",
		"if ids[row.ID] {", "if ids[row.ID] && row.Status != Pass {",
	},
	{
		"report-behind", "what is behind a report may be anything but JSON", "conformance/report/read.go",
		"err != io.EOF {", "err == nil {",
	},
	{
		"merge-shards-missing", "a run without its last part counts as whole", "conformance/merge.go",
		"for i := 1; i <= count; i++ {", "for i := 1; i < count; i++ {",
	},
}
