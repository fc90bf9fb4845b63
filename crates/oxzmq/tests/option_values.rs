//! Each option by its number, in a table of its own beside the one in the library: default, values it takes and
//! refuses, and the socket types that have it.

mod common;

use common::*;
use oxzmq::SocketType::*;
use oxzmq::{ErrorKind, OptionInfo, OptionValue, SocketType};

enum Takes {
    /// The default (`None`: it cannot be read), the least and the largest value.
    Int(Option<i32>, i32, i32),
    /// Octets, from so many to so many, and how many there are at first (`None`: it cannot be read).
    Octets(Option<usize>, usize, usize),
    Key,
    Wide,
    /// It can only be read.
    Nothing,
}

const MAX: i32 = i32::MAX;
const MANY: usize = 5000;
/// Set only, 0 or more.
const FLAG: Takes = Takes::Int(None, 0, MAX);
const SWITCH: Takes = Takes::Int(Some(0), 0, 1);
const ALL: &[SocketType] = &[];

/// Number, values, types (none named: all).
const OPTIONS: &[(i32, Takes, &[SocketType])] = &[
    (4, Takes::Wide, ALL),
    (5, Takes::Octets(Some(0), 1, 255), ALL),
    (6, Takes::Octets(None, 0, MANY), &[Sub, Pub, Xpub]),
    (7, Takes::Octets(None, 0, MANY), &[Sub, Pub, Xpub]),
    (8, Takes::Int(Some(100), 1, MAX), ALL),
    (9, Takes::Int(Some(10_000), 0, MAX), ALL),
    (11, Takes::Int(Some(-1), -1, MAX), ALL),
    (12, Takes::Int(Some(-1), -1, MAX), ALL),
    (15, Takes::Nothing, ALL),
    (16, Takes::Nothing, ALL),
    (17, Takes::Int(Some(-1), -1, MAX), ALL),
    (18, Takes::Int(Some(100), -1, MAX), ALL),
    (19, Takes::Int(Some(100), 0, MAX), ALL),
    (21, Takes::Int(Some(0), 0, MAX), ALL),
    (22, Takes::Wide, ALL),
    (23, Takes::Int(Some(1000), 0, MAX), ALL),
    (24, Takes::Int(Some(1000), 0, MAX), ALL),
    (25, Takes::Int(Some(1), 1, MAX), ALL),
    (27, Takes::Int(Some(-1), -1, MAX), ALL),
    (28, Takes::Int(Some(-1), -1, MAX), ALL),
    (31, Takes::Int(Some(1), 0, 1), ALL),
    (32, Takes::Nothing, ALL),
    (33, FLAG, &[Router, Rep]),
    (34, Takes::Int(Some(-1), -1, 1), ALL),
    (35, Takes::Int(Some(-1), -1, MAX), ALL),
    (36, Takes::Int(Some(-1), -1, MAX), ALL),
    (37, Takes::Int(Some(-1), -1, MAX), ALL),
    (39, SWITCH, ALL),
    (40, FLAG, &[Pub, Xpub]),
    (41, FLAG, &[Router, Rep]),
    (42, SWITCH, ALL),
    (43, Takes::Nothing, ALL),
    (44, SWITCH, ALL),
    (45, Takes::Octets(Some(0), 0, 255), ALL),
    (46, Takes::Octets(Some(0), 0, 255), ALL),
    (47, SWITCH, ALL),
    (48, Takes::Key, ALL),
    (49, Takes::Key, ALL),
    (50, Takes::Key, ALL),
    (51, FLAG, &[Dealer, Req, Router, Rep]),
    (52, FLAG, &[Req]),
    (53, FLAG, &[Req]),
    (54, SWITCH, ALL),
    (55, Takes::Octets(Some(0), 1, 255), ALL),
    (56, FLAG, &[Router, Rep]),
    (57, Takes::Int(Some(0), 0, MAX), ALL),
    (61, Takes::Octets(None, 1, 255), &[Router, Rep, Stream]),
    (66, Takes::Int(Some(30_000), 0, MAX), ALL),
    (68, Takes::Octets(Some(0), 0, MANY), ALL),
    (69, FLAG, &[Pub, Xpub, Radio]),
    (71, FLAG, &[Pub, Xpub]),
    (72, Takes::Octets(None, 0, MANY), &[Pub, Xpub]),
    (73, Takes::Int(None, 0, 1), &[Stream]),
    (75, Takes::Int(Some(0), 0, MAX), ALL),
    (76, Takes::Int(Some(0), -99, 6_553_599), ALL),
    (77, Takes::Int(Some(-1), 0, MAX), ALL),
    (78, FLAG, &[Pub, Xpub]),
    (79, Takes::Int(Some(0), 0, MAX), ALL),
    (80, Takes::Int(Some(0), 0, MAX), ALL),
    (81, Takes::Nothing, ALL),
    (84, Takes::Int(Some(1500), 1, MAX), ALL),
    (92, Takes::Octets(Some(0), 0, 16), ALL),
    (97, Takes::Int(Some(0), 0, 3), &[Router, Rep]),
    (98, FLAG, &[Pub, Xpub]),
    (99, Takes::Octets(Some(0), 0, 255), ALL),
    (100, Takes::Octets(Some(0), 0, 255), ALL),
    (101, Takes::Int(Some(8192), 1, MAX), ALL),
    (102, Takes::Int(Some(8192), 1, MAX), ALL),
    (108, FLAG, &[Pub, Xpub, Xsub]),
    (109, Takes::Int(Some(0), i32::MIN, MAX), ALL),
    (110, Takes::Octets(None, 0, MANY), ALL),
    (111, Takes::Octets(None, 0, MANY), ALL),
    (112, Takes::Int(Some(0), 0, MAX), ALL),
    (114, Takes::Octets(None, 0, MANY), ALL),
    (115, FLAG, &[Xsub]),
    (116, Takes::Nothing, &[Pub, Sub, Xpub, Xsub]),
];

#[test]
fn every_option_has_its_default_its_range_and_its_types() {
    let context = TestContext::new();
    for (number, takes, types) in OPTIONS {
        let option = OptionInfo::by_number(*number).unwrap_or_else(|| panic!("no option {number}"));
        for socket_type in socket_types() {
            let socket = (*context).socket(socket_type).unwrap();
            if matches!(socket_type, Pub | Xpub) {
                socket.set_xpub_manual(true).unwrap();
            }
            let set = |value: OptionValue| socket.set_option(option, value).is_ok();
            let has = types.is_empty() || types.contains(&socket_type);
            let what = format!("{} of {socket_type}", option.name);
            let octets = |count: usize| OptionValue::from(&vec![b'x'; count][..]);
            match *takes {
                Takes::Int(default, least, most) => {
                    let lingers_not = option.name == "LINGER" && matches!(socket_type, Sub | Xsub | Dish);
                    let default = if lingers_not { Some(0) } else { default };
                    assert_eq!(socket.option(option).ok(), default.map(OptionValue::Int), "{what}, of any type");
                    assert!(!set(octets(4)), "{what} takes no octets");
                    for value in [least, most, 1.clamp(least, most)] {
                        assert_eq!(set(value.into()), has, "{what} {value}");
                        if has && default.is_some() && option.name != "HEARTBEAT_TTL" {
                            assert_eq!(socket.option(option).unwrap(), value.into(), "{what}");
                        }
                    }
                    assert!(least == i32::MIN || !set((least - 1).into()), "{what} below {least}");
                    assert!(most == MAX || !set((most + 1).into()), "{what} above {most}");
                }
                Takes::Octets(at_first, least, most) => {
                    let found = socket.option(option).ok().map(|value| match value {
                        OptionValue::Bytes(octets) => octets.len(),
                        other => panic!("{what} reads {other:?}"),
                    });
                    assert_eq!(found, at_first, "{what}, of any type");
                    assert!(!set(1.into()), "{what} takes no number");
                    assert_eq!((set(octets(least)), set(octets(most))), (has, has), "{what}");
                    assert!(least == 0 || !set(octets(least - 1)), "{what}");
                    assert!(most == MANY || !set(octets(most + 1)), "{what}");
                }
                Takes::Key => {
                    assert_eq!(socket.option(option).unwrap(), OptionValue::from(&[0; 32][..]));
                    for (length, good) in
                        [(0, false), (31, false), (32, true), (33, false), (39, false), (40, true), (41, false)]
                    {
                        let key = if length == 32 { vec![7; 32] } else { vec![b'0'; length] };
                        assert_eq!(set(OptionValue::from(&key[..])), good, "{what} of {length}");
                    }
                    assert!(!set(OptionValue::from(&[b'~'; 40][..])), "{what}: not Z85");
                }
                Takes::Wide => {
                    assert!(!set(1.into()), "{what} takes no int");
                    assert!(set(OptionValue::Unsigned(1)) || set(OptionValue::Long(1)), "{what}");
                }
                Takes::Nothing => {
                    assert_eq!(socket.option(option).is_ok(), has, "{what}");
                    assert!(!set(1.into()) && !set("x".into()), "{what} can only be read");
                }
            }
        }
    }
}

#[test]
fn numbers_of_no_option_are_unknown() {
    for number in [-1, 0, 1, 2, 3, 10, 20, 26, 29, 30, 67, 70, 82, 83].into_iter().chain(85..=88).chain(117..=200) {
        assert!(OptionInfo::by_number(number).is_none(), "{number}");
    }
}

#[test]
fn options_that_are_one_bit_agree_and_read_as_one() {
    let context = TestContext::new();
    let socket = context.socket(Dealer);
    let option = |name: &str| OptionInfo::by_name(name).unwrap();
    let read = |name: &str| socket.option(option(name)).unwrap();
    socket.set_option(option("IPV4ONLY"), 0).unwrap();
    assert_eq!((read("IPV6"), read("IPV4ONLY")), (1.into(), 0.into()));
    socket.set_option(option("IPV6"), 0).unwrap();
    assert_eq!((read("IPV6"), read("IPV4ONLY")), (0.into(), 1.into()));
    for name in ["LOOPBACK_FASTPATH", "INVERT_MATCHING", "ZAP_ENFORCE_DOMAIN", "MULTICAST_LOOP"] {
        socket.set_option(option(name), -5).unwrap();
        assert_eq!(read(name), 1.into(), "{name}");
    }
    for (name, value) in [("RECONNECT_IVL", 0), ("RECONNECT_STOP", -1), ("RECONNECT_STOP", 12), ("RECONNECT_STOP", 0)] {
        socket.set_option(option(name), value).unwrap();
        assert_eq!(read(name), value.into(), "{name}");
    }
    for name in ["ZAP_DOMAIN", "SOCKS_PROXY"] {
        assert_kind(socket.set_option(option(name), &b"\xff"[..]), ErrorKind::InvalidArgument);
    }
    for (set, reads) in [(99, 0), (150, 100), (12_345, 12_300), (-99, 0)] {
        socket.set_option(option("HEARTBEAT_TTL"), set).unwrap();
        assert_eq!(read("HEARTBEAT_TTL"), reads.into());
    }
    let safe = |socket_type| context.socket(socket_type).option(option("THREAD_SAFE")).unwrap();
    for socket_type in socket_types() {
        let safe_there = matches!(socket_type, Server | Client | Radio | Dish | Gather | Scatter | Peer | Channel);
        assert_eq!(safe(socket_type), safe_there.into(), "{socket_type}");
    }
}

#[test]
fn filters_and_properties_take_what_has_their_form() {
    let context = TestContext::new();
    let socket = context.socket(Dealer);
    let filter = OptionInfo::by_name("TCP_ACCEPT_FILTER").unwrap();
    for (value, good) in [
        ("127.0.0.1", true),
        ("127.0.0.1/0", true),
        ("127.0.0.1/33", false),
        ("127.0.0.1/", false),
        ("127.0.0.1/x", false),
        ("localhost", false),
        ("*", false),
        ("::1", false),
        ("", true),
    ] {
        assert_eq!(socket.set_option(filter, value).is_ok(), good, "{value}");
    }
    socket.set_ipv6(true).unwrap();
    assert!(socket.set_option(filter, "::1").is_ok() && socket.set_option(filter, "::1/129").is_err());
    let metadata = OptionInfo::by_name("METADATA").unwrap();
    let longest = format!("X-{}:v", "n".repeat(253));
    for (value, good) in [
        ("X-a:b", true),
        ("X-a:b:c", true),
        ("X-a:", false),
        ("X-a", false),
        ("X-:v", false),
        ("x-a:b", false),
        ("Y-a:b", false),
        (&longest, true),
        (&longest.replace(':', "n:"), false),
    ] {
        assert_eq!(socket.set_option(metadata, value).is_ok(), good, "{value}");
    }
    assert_kind(socket.set_option(metadata, 1), ErrorKind::InvalidArgument);
}
