// Executes the instructions of AMX that tiles.h has, where the processor refuses them.
//
// For tests: the machine code of the kernels is what it would be on a processor with AMX. Whatever
// else is an illegal instruction stays one.
#include <signal.h>
#include <ucontext.h>

#include "cpu/tiles_emulated.h"

namespace ladnet::LADNET_ISA {
namespace {

constexpr int kRegisters[16] = {REG_RAX, REG_RCX, REG_RDX, REG_RBX, REG_RSP, REG_RBP,
                                REG_RSI, REG_RDI, REG_R8,  REG_R9,  REG_R10, REG_R11,
                                REG_R12, REG_R13, REG_R14, REG_R15};

// One instruction in the three-byte form of VEX, as the manual's chapter on its encoding has it.
class Instruction {
 public:
  explicit Instruction(greg_t* registers)
      : registers_(registers), at_(reinterpret_cast<const uint8_t*>(registers[REG_RIP])) {}

  // Returns whether it is one of AMX that the kernels have; then the next one's turn has come.
  bool execute() {
    constexpr uint8_t kVex = 0xc4, kMap0f38 = 2;
    if (at_[0] != kVex || (at_[1] & 0x1f) != kMap0f38) return false;
    const bool is_wide = (at_[2] & 0x80) != 0, is_long = (at_[2] & 4) != 0;
    if (is_wide || is_long) return false;
    const int first = at_[4] >> 3 & 7, second = at_[4] & 7, third = ~at_[2] >> 3 & 15;
    next_ = at_ + 5;
    const bool in_memory = at_[4] >> 6 != 3;
    if (in_memory) find_memory();
    enum : int { kNone = 0, kF3 = 2, kF2 = 3 };
    const int prefix = at_[2] & 3, what = at_[3] << 8 | prefix;
    if (what == (0x49 << 8 | kNone) && in_memory && first == 0) {
      emulated_tiles::configure(*static_cast<const tiles::Shapes*>(address_));
    } else if (what == (0x49 << 8 | kNone) && at_[4] == 0xc0) {
      emulated_tiles::release();
    } else if (what == (0x49 << 8 | kF2) && !in_memory && second == 0) {
      emulated_tiles::set_zero(first);
    } else if (what == (0x4b << 8 | kF2) && has_index_byte_) {
      emulated_tiles::load(first, address_, stride_);
    } else if (what == (0x4b << 8 | kF3) && has_index_byte_) {
      emulated_tiles::store(first, address_, stride_);
    } else if (what == (0x5c << 8 | kF3) && !in_memory) {
      emulated_tiles::multiply(first, second, third);
    } else {
      return false;
    }
    registers_[REG_RIP] = reinterpret_cast<greg_t>(next_);
    return true;
  }

 private:
  // What the operand's address is, and apart from it what the index makes, the stride.
  void find_memory() {
    const int mode = at_[4] >> 6, base = at_[4] & 7;
    const int high_base = (at_[1] & 0x20) != 0 ? 0 : 8, high_index = (at_[1] & 0x40) != 0 ? 0 : 8;
    int64_t address = 0;
    has_index_byte_ = base == 4;
    bool by_register = true;
    if (has_index_byte_) {
      const uint8_t byte = *next_++;
      const int index = (byte >> 3 & 7) | high_index;
      if (index != 4) stride_ = registers_[kRegisters[index]] * (int64_t{1} << (byte >> 6));
      by_register = mode != 0 || (byte & 7) != 5;
      if (by_register) address = registers_[kRegisters[(byte & 7) | high_base]];
    } else {
      by_register = mode != 0 || base != 5;
      if (by_register) address = registers_[kRegisters[base | high_base]];
    }
    if (mode == 1) {
      address += static_cast<int8_t>(*next_++);
    } else if (mode == 2 || !by_register) {
      int32_t distance;
      memcpy(&distance, next_, sizeof(distance));
      next_ += sizeof(distance);
      address += distance;
    }
    // Without a register it is counted from the next instruction.
    if (!by_register && !has_index_byte_) address += reinterpret_cast<int64_t>(next_);
    address_ = reinterpret_cast<void*>(address);
  }

  greg_t* const registers_;
  const uint8_t* const at_;
  const uint8_t* next_ = nullptr;
  void* address_ = nullptr;
  int64_t stride_ = 0;
  bool has_index_byte_ = false;
};

void on_illegal_instruction(int, siginfo_t*, void* context) {
  greg_t* const registers = static_cast<ucontext_t*>(context)->uc_mcontext.gregs;
  if (!Instruction(registers).execute()) {
    signal(SIGILL, SIG_DFL);  // it comes again
    return;
  }
  // A signal takes longer than what it is for: often the next instruction is another.
  while (Instruction(registers).execute()) {
  }
}

}  // namespace

void trap_tiles();
void trap_tiles() {
  struct sigaction action = {};
  action.sa_sigaction = &on_illegal_instruction;
  action.sa_flags = SA_SIGINFO;
  emulated_tiles::require(sigaction(SIGILL, &action, nullptr) == 0, "no signal handler");
}

}  // namespace ladnet::LADNET_ISA
