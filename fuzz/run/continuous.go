package main

func continuous(args []string) error { return nil }
