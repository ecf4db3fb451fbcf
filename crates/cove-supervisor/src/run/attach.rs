//! Attachments: what clients write on its way to the instance's stdin, and
//! what the instance writes on its way to its log and to them.

use std::os::fd::AsFd;

use cove_model::control::{Attach, FRAME_HEADER, Reply, Stream, TerminalSize, parse_frame_header};
use cove_model::event::InstanceChange;
use rustix::event::epoll::{self, EventData, EventFlags};
use rustix::io::Errno;

use super::conn::{Attached, Conn, Kind};
use super::life::output_token;
use super::stdio::Output;
use super::{OUTPUTS, Phase, STDIN, Supervisor, keeper};

impl Supervisor<'_> {
    /// Connects a client to the stdio; `None`: it is told, now or later.
    pub(super) fn attach(&mut self, slot: usize, mut attach: Attach) -> Option<Reply> {
        if let Some(size) = attach.size {
            // Before the start this is the first size; a failure is only a wrong size.
            self.resize(size).unwrap_or(());
        }
        if self.config.tty {
            // Everything is stdout; who wants both is served faster.
            attach.stderr = attach.stdout;
        }
        let place = self.ring.end();
        self.untold.push(InstanceChange::Attach);
        if attach.start && matches!(self.phase, Phase::Created) && self.start().is_err() {
            return self.park(slot, Kind::Starting);
        }
        if !self.untold.is_empty() {
            self.workload.tell(std::mem::take(&mut self.untold));
        }
        let warnings = if attach.start {
            self.status.warnings.clone()
        } else {
            Vec::new()
        };
        let ended = matches!(self.phase, Phase::Down).then(|| self.last_exit());
        if let Some(conn) = self.conns[slot].as_mut() {
            conn.say(&Reply::Attached {
                tty: self.config.tty,
                warnings,
            });
            conn.kind = Kind::Attached(Attached::new(attach, place));
            if let Some(exited) = ended {
                conn.say_exit(&exited, place);
            }
        }
        None
    }

    // ---- from clients to the instance ----

    pub(super) fn take_frames(&mut self, slot: usize) {
        while let Some(conn) = self.conns[slot].as_mut() {
            let Kind::Attached(attached) = &mut conn.kind else {
                return;
            };
            let Some((stream, left)) = attached.frame else {
                let Some(header) = conn.input.first_chunk::<FRAME_HEADER>() else {
                    return;
                };
                let Some(frame) = parse_frame_header(*header) else {
                    return self.close(slot);
                };
                conn.input.drain(..FRAME_HEADER);
                attached.frame = Some(frame);
                continue;
            };
            let part = left.min(conn.input.len());
            match stream {
                Stream::Stdin => {
                    if part == 0 && left > 0 {
                        return;
                    }
                    let bytes: Vec<u8> = conn.input[..part].to_vec();
                    let allowed = attached.options.stdin;
                    let taken = if allowed {
                        self.write_stdin(&bytes)
                    } else {
                        part
                    };
                    let Some(conn) = self.conns[slot].as_mut() else {
                        return;
                    };
                    let Kind::Attached(attached) = &mut conn.kind else {
                        return;
                    };
                    conn.input.drain(..taken);
                    attached.frame = (taken < left).then_some((stream, left - taken));
                    attached.blocked = taken < part;
                    if attached.blocked {
                        return;
                    }
                }
                Stream::StdinClose => {
                    attached.frame = None;
                    let allowed = attached.options.stdin && left == 0;
                    if allowed && self.config.stdin_once {
                        self.close_stdin();
                    }
                }
                Stream::Resize => {
                    let Some([a, b, c, d]) = conn.input.first_chunk::<4>().copied() else {
                        return;
                    };
                    if left != 4 {
                        return self.close(slot);
                    }
                    conn.input.drain(..4);
                    attached.frame = None;
                    let rows = u16::from_be_bytes([a, b]);
                    let cols = u16::from_be_bytes([c, d]);
                    // Without a terminal there is nothing to resize.
                    self.resize_now(TerminalSize { rows, cols }).unwrap_or(());
                }
                Stream::Stdout | Stream::Stderr | Stream::Exit | Stream::Error => {
                    return self.close(slot);
                }
            }
        }
    }

    /// How many of the bytes the instance took; all, when nobody can read them.
    fn write_stdin(&mut self, bytes: &[u8]) -> usize {
        let Some(sink) = self.console.as_ref().or(self.stdin.fifo.as_ref()) else {
            return bytes.len();
        };
        let mut taken = 0;
        while taken < bytes.len() {
            match rustix::io::write(sink, &bytes[taken..]) {
                Ok(more) => taken += more,
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => {
                    self.stdin.full = true;
                    self.watch_stdin();
                    return taken;
                }
                // It closed its stdin.
                Err(_) => return bytes.len(),
            }
        }
        taken
    }

    /// Watches for room in a full stdin.
    fn watch_stdin(&self) {
        match &self.console {
            Some(_) => self.rewatch_console(),
            None => {
                if let Some(fifo) = &self.stdin.fifo {
                    // Already watched is as good.
                    self.watch(fifo, STDIN, EventFlags::OUT).unwrap_or(());
                }
            }
        }
    }

    fn rewatch_console(&self) {
        if let Some(output) = self.outputs.first().filter(|output| output.watched) {
            let data = EventData::new_u64(output_token(0));
            epoll::modify(&self.epoll, &output.fd, data, self.flags_of(output)).unwrap_or(());
        }
    }

    /// What an output is watched for.
    fn flags_of(&self, output: &Output) -> EventFlags {
        let mut flags = EventFlags::IN;
        flags.set(EventFlags::OUT, self.console.is_some() && self.stdin.full);
        // Only what happens from now on: somebody opens it again and writes.
        flags.set(EventFlags::ET, output.deserted);
        flags
    }

    /// Notes whether anybody has the terminal open.
    fn desert_console(&mut self, deserted: bool) {
        if let Some(output) = self.outputs.first_mut()
            && std::mem::replace(&mut output.deserted, deserted) != deserted
        {
            self.rewatch_console();
        }
    }

    pub(super) fn on_stdin_writable(&mut self) {
        self.stdin.full = false;
        match &self.console {
            Some(_) => self.rewatch_console(),
            None => {
                if let Some(fifo) = &self.stdin.fifo {
                    epoll::delete(&self.epoll, fifo).unwrap_or(());
                }
            }
        }
        for slot in 0..self.conns.len() {
            if let Some(Conn {
                kind: Kind::Attached(attached),
                ..
            }) = self.conns[slot].as_mut()
                && std::mem::take(&mut attached.blocked)
            {
                self.take_frames(slot);
            }
        }
    }

    pub(super) fn close_stdin(&mut self) {
        if let Some(fifo) = self.stdin.fifo.take() {
            if self.stdin.full {
                epoll::delete(&self.epoll, &fifo).unwrap_or(());
            }
            self.stdin.full = false;
            drop(fifo);
            // Without a keeper nobody else holds it.
            keeper::close_stdin(self.dir.as_fd()).unwrap_or(());
        }
    }

    // ---- from the instance to its log and to clients ----

    pub(super) fn on_output(&mut self, token: u64, flags: EventFlags) {
        let index = usize::try_from(token - OUTPUTS).unwrap_or(usize::MAX);
        if flags.contains(EventFlags::OUT) {
            self.on_stdin_writable();
        }
        if flags.intersects(EventFlags::IN | EventFlags::HUP | EventFlags::ERR) {
            self.read_output(index, self.buffer.len());
        }
    }

    /// One read of one output; how many bytes.
    fn read_output(&mut self, index: usize, limit: usize) -> usize {
        let Some(output) = self.outputs.get_mut(index) else {
            return 0;
        };
        let limit = limit.min(self.buffer.len());
        let result = rustix::io::read(&output.fd, &mut self.buffer[..limit]);
        if Output::is_end(&result) {
            if self.console.is_some() && self.init.is_some() {
                self.desert_console(true);
            } else {
                output.ended = true;
                self.watch_outputs();
            }
            return 0;
        }
        let Ok(length) = result else { return 0 };
        let (log, stream) = (output.log, output.stream);
        if output.deserted {
            self.desert_console(false);
        }
        let bytes = &self.buffer[..length];
        if let Some(writer) = self.log.as_mut() {
            writer.write(log, bytes);
        }
        let attached = |conn: &Conn| matches!(conn.kind, Kind::Attached(_));
        if self.conns.iter().flatten().any(attached) {
            self.ring.push(stream, bytes);
        }
        length
    }

    /// Reads what the ended instance has written, and not what somebody who
    /// still holds the FIFO goes on writing.
    pub(super) fn drain(&mut self) {
        for index in 0..self.outputs.len() {
            // A terminal tells less than it has; it ends by itself or has nothing now.
            let mut left = if self.console.is_some() {
                1 << 20
            } else {
                let waiting = rustix::io::ioctl_fionread(&self.outputs[index].fd).unwrap_or(0);
                usize::try_from(waiting).unwrap_or(usize::MAX)
            };
            while left > 0 {
                match self.read_output(index, left) {
                    0 => break,
                    length => left -= length,
                }
            }
        }
    }

    /// Lets go of the stdio of the run that ended.
    pub(super) fn disconnect(&mut self) {
        for output in &mut self.outputs {
            output.ended = true;
        }
        self.watch_outputs();
        self.stdin = super::Stdin::default();
        if self.console.take().is_some() {
            self.outputs.clear();
        }
        for conn in self.conns.iter_mut().flatten() {
            if let Kind::Attached(attached) = &mut conn.kind {
                attached.blocked = false;
            }
        }
    }

    pub(super) fn watch_outputs(&mut self) {
        for index in 0..self.outputs.len() {
            let output = &self.outputs[index];
            let wanted = !output.ended && !self.held;
            if wanted == output.watched {
                continue;
            }
            let data = EventData::new_u64(output_token(index));
            let result = if wanted {
                epoll::add(&self.epoll, &output.fd, data, self.flags_of(output))
            } else {
                epoll::delete(&self.epoll, &output.fd)
            };
            self.outputs[index].watched = wanted && result.is_ok();
        }
    }
}
