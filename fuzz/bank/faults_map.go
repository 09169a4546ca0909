package bank

// mapFaults are in what NewMap makes of its arguments.
var mapFaults = []Fault{
	{
		"map-wraps", "offset + length wraps round", "pmem2/map_new.go",
		"case req.offset > math.MaxUint64-req.size:", "case false:",
	},
	{
		"map-past-end", "a mapping may end a byte behind the source", "pmem2/map_new.go",
		"case req.offset+req.size > sourceSize:", "case req.offset+req.size > sourceSize+1:",
	},
}
