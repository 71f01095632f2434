//! The least that receiving objects costs on this machine: GETs over a few connections, whose bodies are received
//! one after the other by a thread that does nothing else, each over the one before, in memory that stays in the
//! processor's cache. The kernel wakes it when [`WOKEN_AT`] bytes are there. Of HTTP there is the search for the end of a
//! head.
//!
//! Nobody who keeps what he receives can do with less. It says what a bar on processor time means on a machine.

use std::io::Write;
use std::net::TcpStream;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{MsgFlags, SetSockOpt, recv};
use nix::{libc, setsockopt_impl, sockopt_impl};
use std::os::fd::{AsFd, AsRawFd};

use super::limit::{Share, cpu_seconds};
use super::reading::Reading;
use super::wire_limit;

sockopt_impl!(
    /// How many bytes must be there before whoever waits is woken (`SO_RCVLOWAT`, socket(7)).
    LowWater,
    SetOnly,
    libc::SOL_SOCKET,
    libc::SO_RCVLOWAT,
    i32
);

/// Fewer wake-ups than at 256 KiB; at 2 MiB and more the sender stands still meanwhile.
const WOKEN_AT: i32 = 1 << 20;
/// Room for a head and what comes with it.
const HEAD: usize = 8 << 10;

/// Options of the limit program.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Of the bucket or container: `http://127.0.0.1:PORT/PATH`; objects are `objects/00000000` and so on in it
    base: String,
    /// How many objects there are
    #[arg(long)]
    objects: usize,
    /// Bytes of each
    #[arg(long)]
    size: usize,
    /// Connections, so that the server has something to send while a body of another is received
    #[arg(long, default_value_t = 4)]
    connections: usize,
    /// Repeat for this long; 0: read each object once
    #[arg(long, default_value_t = 0.0)]
    seconds: f64,
}

/// Reads, and prints the reading as one line of JSON.
pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    println!("{}", serde_json::to_string(&read_all(args)?)?);
    Ok(())
}

fn read_all(args: &Args) -> anyhow::Result<Reading> {
    ensure!(args.connections > 0, "--connections 0: at least 1");
    ensure!(args.objects > 0, "--objects 0: at least 1");
    let (address, path) = wire_limit::parse(&args.base)?;
    let request =
        |number: usize| format!("GET {path}/objects/{number:08} HTTP/1.1\r\nHost: {address}\r\n\r\n");
    let mut streams = Vec::with_capacity(args.connections);
    for _ in 0..args.connections {
        let stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        streams.push(stream);
    }
    let mut body = vec![1; args.size];
    // Whatever starts slowly has started before the clock does.
    for stream in &mut streams {
        stream.write_all(request(0).as_bytes())?;
        receive(stream, &mut body)?;
    }
    let (cpu, began) = (cpu_seconds(), Instant::now());
    let deadline = (args.seconds > 0.0).then(|| Duration::from_secs_f64(args.seconds));
    let mut numbers = (0..args.objects).cycle();
    let mut ask = |stream: &mut TcpStream| {
        let number = numbers.next().context("objects")?;
        Ok::<_, anyhow::Error>(stream.write_all(request(number).as_bytes())?)
    };
    let first = args.connections.min(args.objects);
    streams.truncate(first);
    streams.iter_mut().try_for_each(&mut ask)?;
    let (mut asked, mut samples) = (first, 0);
    while samples < asked {
        let stream = &mut streams[samples % first];
        receive(stream, &mut body)?;
        samples += 1;
        let more = match deadline {
            Some(deadline) => began.elapsed() < deadline,
            None => asked < args.objects,
        };
        if more {
            ask(stream)?;
            asked += 1;
        }
    }
    let bytes = samples as u64 * args.size as u64;
    let share = Share { samples: samples as u64, bytes, began, ended: Instant::now() };
    Ok(Share::together(&[share], cpu_seconds() - cpu))
}

/// One answer, its body into `body`.
fn receive(stream: &TcpStream, body: &mut [u8]) -> anyhow::Result<()> {
    let (mut head, mut headed) = ([0; HEAD], 0);
    LowWater.set(stream, &1)?;
    let begun = loop {
        let came = recv(stream.as_raw_fd(), &mut head[headed..], MsgFlags::empty())?;
        ensure!(came > 0, "the server closed a connection, or sent a head of more than {HEAD} bytes");
        headed += came;
        if let Some(end) = wire_limit::end_of_head(&head[..headed], body.len())? {
            break &head[end..headed];
        }
    };
    let (front, rest) = body.split_at_mut(begun.len());
    front.copy_from_slice(begun);
    let mut filled = 0;
    while filled < rest.len() {
        let left = rest.len() - filled;
        LowWater.set(stream, &WOKEN_AT.min(i32::try_from(left).unwrap_or(WOKEN_AT)))?;
        // A `recv` that blocks takes what is there and then waits for as much again, which may be more than is to come.
        poll(&mut [PollFd::new(stream.as_fd(), PollFlags::POLLIN)], PollTimeout::NONE)?;
        let came = recv(stream.as_raw_fd(), &mut rest[filled..], MsgFlags::MSG_DONTWAIT)?;
        ensure!(came > 0, "the server closed a connection in an answer");
        filled += came;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::wire_limit::tests::{SIZE, serve};

    #[test]
    fn objects_are_received_once_or_until_the_time_is_up() {
        let args = |seconds| Args { base: serve("200 OK"), objects: 11, size: SIZE, connections: 3, seconds };
        let reading = read_all(&args(0.0)).unwrap();
        assert_eq!((reading.samples, reading.bytes), (11, 11 * SIZE as u64));
        let reading = read_all(&args(0.05)).unwrap();
        assert!(reading.samples > 3 && reading.seconds >= 0.05, "{reading:?}");
        let refused = Args { base: serve("503 Slow Down"), ..args(0.0) };
        assert!(read_all(&refused).unwrap_err().to_string().contains("503"));
    }
}
