//! Many datagrams with one call of the kernel, where the kernel has such a call.

use std::io;
use std::net::SocketAddr;

use bytes::BytesMut;
use tokio::net::UdpSocket;

/// Most datagrams of a call.
#[cfg(target_os = "linux")]
const BATCH: usize = 64;

/// Sends what there is, without waiting; answers how much could not be sent.
pub(super) fn send(socket: &UdpSocket, datagrams: &[(SocketAddr, BytesMut)]) -> u64 {
    let mut unsent = 0;
    let mut rest = datagrams;
    while !rest.is_empty() {
        match some(socket, rest) {
            Ok(sent) => rest = &rest[sent.max(1)..],
            // The kernel's buffer is full: the rest would not fit either.
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return unsent + rest.len() as u64,
            // It is the first that cannot be sent, such as to an address without a way.
            Err(_) => {
                unsent += 1;
                rest = &rest[1..];
            }
        }
    }
    unsent
}

/// Sends the first of them, one or more; how many.
#[cfg(target_os = "linux")]
fn some(socket: &UdpSocket, datagrams: &[(SocketAddr, BytesMut)]) -> io::Result<usize> {
    use std::io::IoSlice;

    use rustix::net::addr::SocketAddrArg;
    use rustix::net::{MMsgHdr, SendAncillaryBuffer, SendFlags, sendmmsg};
    use tokio::io::Interest;

    if let [(to, datagram)] = datagrams {
        return socket.try_send_to(datagram, *to).map(|_| 1);
    }
    let batch = &datagrams[..datagrams.len().min(BATCH)];
    let addresses: Vec<_> = batch.iter().map(|(to, _)| to.as_any()).collect();
    let slices: Vec<_> = batch.iter().map(|(_, datagram)| [IoSlice::new(datagram)]).collect();
    let mut controls: Vec<SendAncillaryBuffer<'_, '_, '_>> = batch.iter().map(|_| Default::default()).collect();
    let parts = addresses.iter().zip(&slices).zip(&mut controls);
    let mut messages: Vec<_> = parts.map(|((to, slice), control)| MMsgHdr::new_with_addr(to, slice, control)).collect();
    socket.try_io(Interest::WRITABLE, || Ok(sendmmsg(socket, &mut messages, SendFlags::DONTWAIT)?))
}

#[cfg(not(target_os = "linux"))]
fn some(socket: &UdpSocket, datagrams: &[(SocketAddr, BytesMut)]) -> io::Result<usize> {
    let (to, datagram) = &datagrams[0];
    socket.try_send_to(datagram, *to).map(|_| 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn all_arrive_in_order_but_the_one_that_cannot_be_sent() {
        let socket = UdpSocket::bind("127.0.0.1:0").await.expect("a socket");
        let to = UdpSocket::bind("127.0.0.1:0").await.expect("a socket");
        let address = to.local_addr().expect("an address");
        let mut datagrams: Vec<_> = (0..150u8).map(|n| (address, BytesMut::from([n].as_slice()))).collect();
        // No way leads from this socket there.
        datagrams[70].0 = "[2001:db8::1]:9".parse().expect("an address");
        socket.writable().await.expect("writable");
        assert_eq!(send(&socket, &datagrams), 1);
        let mut buffer = [0; 8];
        for n in (0..150u8).filter(|n| *n != 70) {
            assert_eq!(to.recv(&mut buffer).await.expect("a datagram"), 1);
            assert_eq!(buffer[0], n);
        }
    }
}
