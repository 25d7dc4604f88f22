//! A double of port-forwards: simulated nodes have no kubelet, so the API servers of tests cannot open one. It serves the
//! subresource `portforward` as the API server with a kubelet does (WebSocket, subprotocol `v4.channel.k8s.io`), connects
//! to a server of the test, and passes every other request on.

use std::io::{BufRead as _, BufReader, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use base64::Engine as _;

/// What RFC 6455 appends to the key of a handshake.
const GUID: &str = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// Listens until the process of the test ends.
pub struct Forwards {
    port: u16,
    opened: Arc<AtomicUsize>,
}

/// Address of the server that a pod and its port stand for; none for a port that nothing listens on.
type Upstream = Box<dyn Fn(&str, u16) -> Option<String> + Send + Sync>;

impl Forwards {
    /// Before the HTTP server on this port of localhost.
    pub fn start(before: u16, upstream: impl Fn(&str, u16) -> Option<String> + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let opened = Arc::new(AtomicUsize::new(0));
        let count = opened.clone();
        let upstream: Arc<Upstream> = Arc::new(Box::new(upstream));
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let (upstream, count) = (upstream.clone(), count.clone());
                std::thread::spawn(move || one(stream, before, &upstream, &count));
            }
        });
        Self { port, opened }
    }

    /// The port for clients.
    pub const fn port(&self) -> u16 {
        self.port
    }

    /// How many port-forwards were opened.
    pub fn opened(&self) -> usize {
        self.opened.load(Ordering::Relaxed)
    }
}

/// One connection with one request.
fn one(mut client: TcpStream, before: u16, upstream: &Upstream, opened: &AtomicUsize) -> Option<()> {
    let mut reader = BufReader::new(client.try_clone().ok()?);
    let mut head = Vec::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok().filter(|length| *length > 0)?;
        if line == "\r\n" {
            break;
        }
        head.push(line);
    }
    let target = head.first()?.split(' ').nth(1)?.to_owned();
    if let Some((path, query)) = target.split_once("/portforward?") {
        opened.fetch_add(1, Ordering::Relaxed);
        let pod = path.rsplit('/').next()?;
        let port: u16 = query.split('&').find_map(|pair| pair.strip_prefix("ports="))?.parse().ok()?;
        let key = head.iter().find_map(|line| {
            let (name, value) = line.split_once(':')?;
            name.eq_ignore_ascii_case("sec-websocket-key").then(|| value.trim().to_owned())
        })?;
        let digest = ring::digest::digest(&ring::digest::SHA1_FOR_LEGACY_USE_ONLY, format!("{key}{GUID}").as_bytes());
        let accept = base64::engine::general_purpose::STANDARD.encode(digest);
        write!(
            client,
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Accept: {accept}\r\nSec-WebSocket-Protocol: v4.channel.k8s.io\r\n\r\n"
        )
        .ok()?;
        return forward(client, reader, upstream(pod, port), port);
    }
    let mut server = TcpStream::connect(("127.0.0.1", before)).ok()?;
    head.retain(|line| !line.to_ascii_lowercase().starts_with("connection:"));
    write!(server, "{}Connection: close\r\n\r\n", head.concat()).ok()?;
    let mut to_server = server.try_clone().ok()?;
    std::thread::spawn(move || std::io::copy(&mut reader, &mut to_server));
    std::io::copy(&mut server, &mut client).ok()?;
    client.shutdown(Shutdown::Both).ok()
}

/// Carries the bytes of channel 0; channel 1 is for errors. Each begins with the port, little-endian.
fn forward(client: TcpStream, mut reader: BufReader<TcpStream>, address: Option<String>, port: u16) -> Option<()> {
    let client = Arc::new(Mutex::new(client));
    for channel in [0, 1] {
        let [low, high] = port.to_le_bytes();
        frame(&client, 2, &[channel, low, high])?;
    }
    let Some(mut server) = address.and_then(|address| TcpStream::connect(address).ok()) else {
        frame(&client, 2, b"\x01connection refused: nothing listens on the port")?;
        return frame(&client, 8, &[3, 232]);
    };
    let mut from_server = server.try_clone().ok()?;
    let to_client = client.clone();
    std::thread::spawn(move || {
        let mut bytes = [0; 16 * 1024];
        while let Ok(length @ 1..) = from_server.read(&mut bytes[1..]) {
            frame(&to_client, 2, &bytes[..=length])?;
        }
        frame(&to_client, 8, &[3, 232])
    });
    while let Some((opcode, payload)) = read_frame(&mut reader) {
        match (opcode, payload.split_first()) {
            (8, _) => break,
            (2, Some((0, data))) => server.write_all(data).ok()?,
            _ => {}
        }
    }
    server.shutdown(Shutdown::Both).ok()
}

/// A frame of a server, which is not masked.
fn frame(client: &Mutex<TcpStream>, opcode: u8, payload: &[u8]) -> Option<()> {
    let mut bytes = vec![0x80 | opcode];
    if let Ok(length @ 0..=125) = u8::try_from(payload.len()) {
        bytes.push(length);
    } else {
        bytes.push(126);
        bytes.extend(u16::try_from(payload.len()).ok()?.to_be_bytes());
    }
    bytes.extend(payload);
    client.lock().ok()?.write_all(&bytes).ok()
}

/// A frame of a client, which is masked.
fn read_frame(reader: &mut impl Read) -> Option<(u8, Vec<u8>)> {
    let mut head = [0; 2];
    reader.read_exact(&mut head).ok()?;
    let length = match head[1] & 0x7f {
        126 => {
            let mut length = [0; 2];
            reader.read_exact(&mut length).ok()?;
            u64::from(u16::from_be_bytes(length))
        }
        127 => {
            let mut length = [0; 8];
            reader.read_exact(&mut length).ok()?;
            u64::from_be_bytes(length)
        }
        length => length.into(),
    };
    let mut mask = [0; 4];
    reader.read_exact(&mut mask).ok()?;
    let mut payload = vec![0; usize::try_from(length).ok()?];
    reader.read_exact(&mut payload).ok()?;
    for (index, byte) in payload.iter_mut().enumerate() {
        *byte ^= mask[index % 4];
    }
    Some((head[0] & 0x0f, payload))
}
