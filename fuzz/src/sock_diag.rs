//! The kernel's answers about sockets.

use std::net::SocketAddr;

use roletap_core::caller::inet_diag::{ANY_INTERFACE, ask, read};

/// Reads an answer, as it is and as one to a question that was asked.
pub fn sock_diag(bytes: &[u8]) {
    let (client, server) =
        (SocketAddr::from(([127, 0, 0, 1], 40_000)), SocketAddr::from(([127, 0, 0, 1], 8787)));
    let question = ask(7, client, server, ANY_INTERFACE);
    assert_eq!(u32::from_ne_bytes(question[..4].try_into().unwrap()) as usize, question.len());
    // Framed rightly, and with a length that is wrong by a little.
    let wrong = bytes.first().map_or(0, |byte| i32::from(*byte % 5) - 2);
    let framed = [0, wrong].map(|wrong| {
        let mut framed = bytes.to_vec();
        if let Some(length) = framed.get_mut(..4) {
            let said = (bytes.len() as u32).wrapping_add_signed(wrong);
            length.copy_from_slice(&said.to_ne_bytes());
        }
        if let Some(sequence) = framed.get_mut(8..12) {
            sequence.copy_from_slice(&7_u32.to_ne_bytes());
        }
        framed
    });
    let [right, wrong] = &framed;
    for (bytes, sequence) in [(bytes, 0), (bytes, 7), (right, 7), (wrong, 7)] {
        let Some(answer) = read(bytes, sequence) else {
            continue;
        };
        let Ok(socket) = answer else {
            continue;
        };
        let caller = socket.caller(client, server);
        // A caller is who opened the socket that was asked for: both its ends stand in the answer.
        if let Ok(caller) = caller {
            let ports = [40_000_u16.to_be_bytes(), 8787_u16.to_be_bytes()].concat();
            assert_eq!(bytes.get(20..24), Some(ports.as_slice()));
            assert_eq!(bytes.get(80..84), Some(caller.uid.to_ne_bytes().as_slice()));
            assert!(!socket.is_listener(client, 1));
        }
    }
}
