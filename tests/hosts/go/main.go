// SPDX-License-Identifier: MIT

// A program in Go as a library meets it: its runtime has handlers for all signals, threads that come and go, and
// interrupts its own threads by signals all the time. `notify URL PLACEMENT STAGE` asks to be told of signals, which a
// process that it had forked would inherit; `waits ...` leaves them to the runtime and goes on until one ends it.
package main

// #include "../host.h"
import "C"

import (
	"fmt"
	"os"
	"os/signal"
	"runtime"
	"syscall"
	"time"
)

var signals = []syscall.Signal{syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP}

var failed bool

func wrong(format string, values ...any) {
	failed = true
	fmt.Fprintf(os.Stderr, "wrong: "+format+"\n", values...)
}

// Keeps the collector and the scheduler busy meanwhile.
func churn(stop chan struct{}) {
	kept := make([][]byte, 64)
	for i := 0; ; i++ {
		select {
		case <-stop:
			return
		default:
			kept[i%64] = make([]byte, 20000)
			time.Sleep(100 * time.Microsecond)
		}
	}
}

func notify(url, placement, stage *C.char) {
	told := make(chan os.Signal, 16)
	signal.Notify(told, syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP)
	before := C.host_look()
	handle := C.host_open_and_use(url, placement, stage, 20)
	if handle == nil {
		return
	}
	for _, number := range signals {
		syscall.Kill(os.Getpid(), number)
		select {
		case got := <-told:
			if got != number {
				wrong("told of %v, not %v", got, number)
			}
		case <-time.After(5 * time.Second):
			wrong("not told of %v", number)
		}
		C.host_use(handle, 20)
	}
	names := []string{"SIGINT", "SIGTERM", "SIGHUP"}
	for i, number := range signals {
		name := C.CString(names[i])
		C.host_lose_helper(handle, C.int(number), name, name)
	}
	C.wsxdp_free(handle)
	C.host_compare(before, C.host_look())
}

func waits(url, placement, stage *C.char) {
	handle := C.host_open_and_use(url, placement, stage, 20)
	fmt.Println("ready")
	var event C.wsxdp_event
	for handle != nil && C.wsxdp_poll(handle, &event, 1, 100000000) >= 0 {
	}
}

func main() {
	runtime.LockOSThread() // a handle has one owner at a time
	if len(os.Args) != 5 {
		os.Exit(2)
	}
	stop := make(chan struct{})
	go churn(stop)
	url, placement, stage := C.CString(os.Args[2]), C.CString(os.Args[3]), C.CString(os.Args[4])
	if os.Args[1] == "notify" {
		notify(url, placement, stage)
	} else {
		waits(url, placement, stage)
	}
	close(stop)
	if failed || C.host_wrong_so_far() != 0 {
		os.Exit(1)
	}
}
