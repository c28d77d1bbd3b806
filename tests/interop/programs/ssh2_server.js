// A server as the documentation of npm's ssh2 has it: commands run in a shell.
//   node ssh2_server.js PORT HOST_KEY AUTHORIZED_KEYS
'use strict';
const { readFileSync } = require('fs');
const { spawn } = require('child_process');
const { Server, utils } = require(process.env.SSH2_MODULE || 'ssh2');

const [port, hostKey, authorizedKeys] = process.argv.slice(2);
const allowed = readFileSync(authorizedKeys, 'utf8').trim().split('\n').map((line) => utils.parseKey(line));

function authenticate(context) {
  if (context.method !== 'publickey') return context.reject(['publickey']);
  const key = allowed.find((one) => one.type === context.key.algo.replace(/^rsa-sha2-.*/, 'ssh-rsa')
                                    && context.key.data.equals(one.getPublicSSH()));
  if (!key) return context.reject(['publickey']);
  if (context.signature && key.verify(context.blob, context.signature, context.hashAlgo) !== true)
    return context.reject(['publickey']);
  return context.accept();
}

function run(stream, words, env) {
  const child = spawn('/bin/sh', words, {
    detached: true, env: { PATH: '/usr/local/bin:/usr/bin:/bin', HOME: process.env.HOME, ...env },
  });
  child.stdin.on('error', () => {});
  stream.on('error', () => {});
  stream.pipe(child.stdin);
  child.stdout.pipe(stream, { end: false });
  child.stderr.pipe(stream.stderr, { end: false });
  let ended = false;
  child.on('close', (code, signal) => {
    ended = true;
    if (signal) stream.exit(signal.replace(/^SIG/, ''));
    else stream.exit(code);
    stream.end();
  });
  stream.on('close', () => {
    if (!ended) try { process.kill(-child.pid, 'SIGHUP'); } catch (e) { /* it has ended */ }
  });
  return child;
}

new Server({ hostKeys: [readFileSync(hostKey)] }, (client) => {
  client.on('error', () => {});
  client.on('authentication', authenticate);
  client.on('session', (acceptSession) => {
    const session = acceptSession();
    const env = {};
    let child;
    session.on('env', (accept, reject, info) => { env[info.key] = info.val; if (accept) accept(); });
    session.on('pty', (accept) => { if (accept) accept(); });
    session.on('window-change', (accept) => { if (accept) accept(); });
    session.on('exec', (accept, reject, info) => { child = run(accept(), ['-c', info.command], env); });
    session.on('shell', (accept) => { child = run(accept(), ['-i'], env); });
    session.on('subsystem', (accept, reject, info) => {
      if (info.name !== 'sftp') return reject();
      child = run(accept(), ['-c', 'exec /usr/lib/openssh/sftp-server'], env);
      return undefined;
    });
    session.on('signal', (accept, reject, info) => {
      if (child) try { process.kill(-child.pid, `SIG${info.name}`); } catch (e) { /* it has ended */ }
      if (accept) accept();
    });
  });
}).listen(Number(port), '127.0.0.1');
