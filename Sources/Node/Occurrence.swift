import Basis
import VRRP
import Wire

/// Something that happened, worth telling a person; one line of the log, of `roost events`, of a scenario's timeline.
public enum Occurrence: Sendable, Hashable {
  case becameActive(vip: Int, reason: String)
  case becameBackup(vip: Int, reason: String)
  case becameFault(vip: Int, reason: String)
  case backendUp(service: Int, backend: Int, message: String)
  case backendDown(service: Int, backend: Int, message: String)
  case allBackendsDown(service: Int)
  case backendsAgain(service: Int)
  case addressPutBack(vip: Int)
  case addressRefused(vip: Int, code: Int32)
  case stopping
}
