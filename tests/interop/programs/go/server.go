// A server made with golang.org/x/crypto/ssh: answers requests itself and runs commands in a shell, as programs with
// that library do.
//
//	server PORT HOST_KEY AUTHORIZED_KEYS REKEY_BYTES
package main

import (
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"strconv"
	"sync"
	"syscall"

	"golang.org/x/crypto/ssh"
)

var signals = map[string]syscall.Signal{"TERM": syscall.SIGTERM, "KILL": syscall.SIGKILL, "HUP": syscall.SIGHUP, "INT": syscall.SIGINT}

func must(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// text reads the string at the front of a payload.
func text(payload []byte) (string, []byte) {
	if len(payload) < 4 {
		return "", nil
	}
	n := int(binary.BigEndian.Uint32(payload))
	if n > len(payload)-4 {
		return "", nil
	}
	return string(payload[4 : 4+n]), payload[4+n:]
}

func start(channel ssh.Channel, words []string, env []string) (*exec.Cmd, error) {
	command := exec.Command("/bin/sh", words...)
	command.Env = append([]string{"PATH=/usr/local/bin:/usr/bin:/bin", "HOME=" + os.Getenv("HOME")}, env...)
	command.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	in, err := command.StdinPipe()
	if err != nil {
		return nil, err
	}
	out, err := command.StdoutPipe()
	if err != nil {
		return nil, err
	}
	errors, err := command.StderrPipe()
	if err != nil {
		return nil, err
	}
	if err := command.Start(); err != nil {
		return nil, err
	}
	go func() {
		io.Copy(in, channel)
		in.Close()
	}()
	go func() {
		var outputs sync.WaitGroup
		outputs.Add(2)
		go func() { io.Copy(channel, out); outputs.Done() }()
		go func() { io.Copy(channel.Stderr(), errors); outputs.Done() }()
		outputs.Wait()
		command.Wait()
		state := command.ProcessState.Sys().(syscall.WaitStatus)
		code := state.ExitStatus()
		if state.Signaled() {
			code = 128 + int(state.Signal())
		}
		channel.SendRequest("exit-status", false, ssh.Marshal(struct{ Status uint32 }{uint32(code)}))
		channel.Close()
	}()
	return command, nil
}

func session(channel ssh.Channel, requests <-chan *ssh.Request) {
	var command *exec.Cmd
	var env []string
	for request := range requests {
		first, rest := text(request.Payload)
		ok := false
		var words []string
		switch request.Type {
		case "env":
			value, _ := text(rest)
			env = append(env, first+"="+value)
			ok = true
		case "pty-req", "window-change":
			ok = true
		case "exec":
			words = []string{"-c", first}
		case "shell":
			words = []string{"-i"}
		case "subsystem":
			if first == "sftp" {
				words = []string{"-c", "exec /usr/lib/openssh/sftp-server"}
			}
		case "signal":
			if command != nil {
				ok = syscall.Kill(-command.Process.Pid, signals[first]) == nil
			}
		}
		if words != nil && command == nil {
			// The answer has to be out before the output.
			if request.WantReply {
				request.Reply(true, nil)
			}
			started, err := start(channel, words, env)
			if err != nil {
				fmt.Fprintln(os.Stderr, err)
				channel.Close()
				continue
			}
			command = started
		} else if request.WantReply {
			request.Reply(ok, nil)
		}
	}
	if command != nil {
		syscall.Kill(-command.Process.Pid, syscall.SIGHUP)
	}
}

func serve(connection net.Conn, config *ssh.ServerConfig) {
	server, channels, requests, err := ssh.NewServerConn(connection, config)
	if err != nil {
		connection.Close()
		return
	}
	defer server.Close()
	go ssh.DiscardRequests(requests)
	for offer := range channels {
		if offer.ChannelType() != "session" {
			offer.Reject(ssh.UnknownChannelType, "unknown channel type")
			continue
		}
		if channel, requests, err := offer.Accept(); err == nil {
			go session(channel, requests)
		}
	}
}

func main() {
	key, err := os.ReadFile(os.Args[2])
	must(err)
	signer, err := ssh.ParsePrivateKey(key)
	must(err)
	rest, err := os.ReadFile(os.Args[3])
	must(err)
	allowed := map[string]bool{}
	for len(rest) > 0 {
		public, _, _, more, err := ssh.ParseAuthorizedKey(rest)
		must(err)
		allowed[string(public.Marshal())] = true
		rest = more
	}
	config := &ssh.ServerConfig{PublicKeyCallback: func(_ ssh.ConnMetadata, key ssh.PublicKey) (*ssh.Permissions, error) {
		if allowed[string(key.Marshal())] {
			return nil, nil
		}
		return nil, fmt.Errorf("unknown key")
	}}
	config.RekeyThreshold, err = strconv.ParseUint(os.Args[4], 10, 64)
	must(err)
	config.AddHostKey(signer)
	listener, err := net.Listen("tcp", "127.0.0.1:"+os.Args[1])
	must(err)
	for {
		connection, err := listener.Accept()
		must(err)
		go serve(connection, config)
	}
}
