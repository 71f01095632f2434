//! What the machine can do with objects of a service on loopback: bare GETs over connections that stay open, in
//! one thread, each body by plain `recv` into memory that was touched before. No signature, no checksum, no order
//! to keep, no batch.
//!
//! It is its own process, built for release, so that its CPU time is its own.

use std::io::{ErrorKind, Read, Write};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token};
use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;

use super::limit::{Share, cpu_seconds};
use super::reading::Reading;

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
    /// Connections, each with one request at a time
    #[arg(long)]
    at_once: usize,
    /// Repeat for this long; 0: read each object once
    #[arg(long, default_value_t = 0.0)]
    seconds: f64,
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

/// Room for a head and what comes with it.
const HEAD: usize = 8 << 10;

/// Reads, and prints the reading as one line of JSON.
pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    println!("{}", serde_json::to_string(&read_all(args)?)?);
    Ok(())
}

fn read_all(args: &Args) -> anyhow::Result<Reading> {
    ensure!(args.at_once > 0, "--at-once 0: at least 1");
    ensure!(args.objects > 0, "--objects 0: at least 1");
    let (address, path) = parse(&args.base)?;
    let mut order: Vec<usize> = (0..args.objects).collect();
    order.shuffle(&mut ChaCha8Rng::seed_from_u64(args.seed));
    let requests: Vec<String> = order
        .iter()
        .map(|number| format!("GET {path}/objects/{number:08} HTTP/1.1\r\nHost: {address}\r\n\r\n"))
        .collect();
    let mut client = Client::connect(address, args.at_once, args.size)?;
    // Everything is connected and all memory touched before the clock starts.
    client.read(&requests, args.at_once, None)?;
    let cpu = cpu_seconds();
    let deadline = (args.seconds > 0.0).then(|| Duration::from_secs_f64(args.seconds));
    let share = client.read(&requests, args.objects, deadline)?;
    Ok(Share::together(&[share], cpu_seconds() - cpu))
}

/// Address and path of an endpoint on this machine.
pub(super) fn parse(base: &str) -> anyhow::Result<(SocketAddr, &str)> {
    let rest =
        base.strip_prefix("http://").with_context(|| format!("`{base}` does not begin with http://"))?;
    let (address, _) = rest.split_once('/').unwrap_or((rest, ""));
    let path = rest[address.len()..].trim_end_matches('/');
    let address = address.parse().with_context(|| format!("`{address}` in `{base}` is no ADDRESS:PORT"))?;
    Ok((address, path))
}

struct Client {
    poll: Poll,
    connections: Vec<Connection>,
}

struct Connection {
    stream: TcpStream,
    head: [u8; HEAD],
    /// Bytes of the head that came.
    headed: usize,
    body: Vec<u8>,
    /// Bytes of the body that came, once its head was whole.
    filled: Option<usize>,
}

impl Client {
    fn connect(address: SocketAddr, count: usize, size: usize) -> anyhow::Result<Self> {
        let poll = Poll::new()?;
        let mut connections = Vec::with_capacity(count);
        for token in 0..count {
            let stream = std::net::TcpStream::connect(address)?;
            stream.set_nodelay(true)?;
            stream.set_nonblocking(true)?;
            let mut stream = TcpStream::from_std(stream);
            poll.registry().register(&mut stream, Token(token), Interest::READABLE)?;
            let body = vec![1; size];
            connections.push(Connection { stream, head: [0; HEAD], headed: 0, body, filled: None });
        }
        Ok(Self { poll, connections })
    }

    /// Asks for objects in turn, one at a time on each connection: `count` of them, or until the time is up.
    fn read(
        &mut self,
        requests: &[String],
        count: usize,
        deadline: Option<Duration>,
    ) -> anyhow::Result<Share> {
        let began = Instant::now();
        let (mut asked, mut samples, mut bytes, mut open) = (0usize, 0u64, 0, 0usize);
        for connection in &mut self.connections {
            if asked < count || deadline.is_some() {
                connection.ask(&requests[asked % requests.len()])?;
                (asked, open) = (asked + 1, open + 1);
            }
        }
        let mut events = Events::with_capacity(self.connections.len());
        while open > 0 {
            if let Err(error) = self.poll.poll(&mut events, None)
                && error.kind() != ErrorKind::Interrupted
            {
                return Err(error.into());
            }
            for event in &events {
                let connection = &mut self.connections[event.token().0];
                while connection.advance()? {
                    samples += 1;
                    bytes += connection.body.len() as u64;
                    let more = match deadline {
                        Some(deadline) => began.elapsed() < deadline,
                        None => asked < count,
                    };
                    if !more {
                        open -= 1;
                        break;
                    }
                    connection.ask(&requests[asked % requests.len()])?;
                    asked += 1;
                }
            }
        }
        Ok(Share { samples, bytes, began, ended: Instant::now() })
    }
}

impl Connection {
    fn ask(&mut self, request: &str) -> anyhow::Result<()> {
        (self.headed, self.filled) = (0, None);
        // A request is far smaller than what a socket that has nothing to send takes at once.
        Ok(self.stream.write_all(request.as_bytes())?)
    }

    /// Reads what there is; whether that was the end of an answer.
    fn advance(&mut self) -> anyhow::Result<bool> {
        loop {
            let into = match self.filled {
                Some(filled) => &mut self.body[filled..],
                None => &mut self.head[self.headed..],
            };
            let came = match self.stream.read(into) {
                Ok(0) => bail!("the server closed a connection in an answer"),
                Ok(came) => came,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(false),
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) => return Err(error.into()),
            };
            match &mut self.filled {
                Some(filled) => *filled += came,
                None => {
                    self.headed += came;
                    self.behead()?;
                }
            }
            if self.filled == Some(self.body.len()) {
                return Ok(true);
            }
        }
    }

    /// Looks for the end of the head; what came behind it is the beginning of the body.
    fn behead(&mut self) -> anyhow::Result<()> {
        let came = &self.head[..self.headed];
        let Some(end) = end_of_head(came, self.body.len())? else {
            ensure!(self.headed < HEAD, "a head of more than {HEAD} bytes");
            return Ok(());
        };
        let begun = &came[end..];
        self.body[..begun.len()].copy_from_slice(begun);
        self.filled = Some(begun.len());
        Ok(())
    }
}

/// Where the body begins in what came of an answer, which is to be a good one of an object of `size` bytes.
pub(super) fn end_of_head(came: &[u8], size: usize) -> anyhow::Result<Option<usize>> {
    let Some(end) = came.windows(4).position(|four| four == b"\r\n\r\n") else { return Ok(None) };
    let text = String::from_utf8_lossy(&came[..end]).to_ascii_lowercase();
    let status = text.lines().next().unwrap_or_default();
    ensure!(status.starts_with("http/1.1 200"), "the server answered `{status}`");
    let length = text.lines().find_map(|line| line.strip_prefix("content-length:"));
    let length = length.and_then(|length| length.trim().parse::<usize>().ok());
    ensure!(length == Some(size), "{length:?} bytes where {size} were due");
    ensure!(came.len() - (end + 4) <= size, "more than one answer to a request");
    Ok(Some(end + 4))
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use std::io::{BufRead, BufReader};
    use std::net::TcpListener;

    pub(crate) const SIZE: usize = 40_000;

    /// Serves objects of [`SIZE`] bytes, or an error, to whoever connects; its base.
    pub(crate) fn serve(status: &'static str) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let base = format!("http://{}/bucket/", listener.local_addr().unwrap());
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                std::thread::spawn(move || {
                    let mut lines = BufReader::new(stream.try_clone().unwrap()).lines();
                    let mut stream = stream;
                    while let Some(Ok(line)) = lines.next() {
                        if line.is_empty() {
                            let head = format!("HTTP/1.1 {status}\r\nContent-Length: {SIZE}\r\n\r\n");
                            let sent = stream.write_all(&[head.as_bytes(), &[7; SIZE]].concat());
                            if sent.is_err() {
                                return;
                            }
                        } else if line.starts_with("GET ") {
                            assert!(line.starts_with("GET /bucket/objects/000000"), "{line}");
                        }
                    }
                });
            }
        });
        base
    }

    fn args(base: String, seconds: f64) -> Args {
        Args { base, objects: 11, size: SIZE, at_once: 4, seconds, seed: 1 }
    }

    #[test]
    fn without_a_time_each_object_is_read_once() {
        let reading = read_all(&args(serve("200 OK"), 0.0)).unwrap();
        assert_eq!((reading.samples, reading.bytes), (11, 11 * SIZE as u64));
    }

    #[test]
    fn with_a_time_objects_are_read_until_it_is_up() {
        let reading = read_all(&args(serve("200 OK"), 0.05)).unwrap();
        assert!(reading.samples >= 4 && reading.seconds >= 0.05, "{reading:?}");
        assert_eq!(reading.bytes, reading.samples * SIZE as u64);
    }

    #[test]
    fn an_error_and_another_size_are_no_reading() {
        let error = read_all(&args(serve("503 Slow Down"), 0.0)).unwrap_err().to_string();
        assert!(error.contains("503"), "{error}");
        let other = Args { size: SIZE + 1, ..args(serve("200 OK"), 0.0) };
        assert!(read_all(&other).unwrap_err().to_string().contains("were due"));
        assert!(parse("https://127.0.0.1:1/b").is_err() && parse("http://somewhere/b").is_err());
    }
}
