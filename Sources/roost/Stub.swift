import Basis
import Health
import Linux
import Node
import Telemetry
import VRRP
// temporary stand-ins
final class Recorder: Sendable { init(path: String, settings: NodeSettings, seed: UInt64, log: Log) throws {}
 func record(_ e: Event, at: Instant) {}
 func record(_ b: UnsafeRawBufferPointer, in: Envelope, at: Instant) {}
 func close() {} }
