//go:build tools

// Package programs pins the command that go_programs.py builds: `go install` refuses a module that replaces others.
package programs

import _ "github.com/helm-unittest/helm-unittest/cmd/helm-unittest"
