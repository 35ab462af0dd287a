# Which GPUs the CUDA module is compiled for: chosen where nobody has said (LADNET_CUDA_ARCHS), else checked.

# ladnet_cuda_architectures(RESULT NVCC): sets RESULT to those of sm_80, 90, 100 and 120 that this nvcc
# knows, machine code for each and the PTX of the newest one, which serves newer GPUs. sm_100 has PTX, too:
# sm_110 takes machine code of no other one, nor PTX of sm_120.
function(ladnet_cuda_architectures result nvcc)
  execute_process(COMMAND "${nvcc}" --version OUTPUT_VARIABLE about COMMAND_ERROR_IS_FATAL ANY)
  if(NOT about MATCHES "release ([0-9]+\\.[0-9]+)")
    message(FATAL_ERROR "${nvcc} --version names no release of CUDA; name the GPUs with "
      "LADNET_CUDA_ARCHS, e.g. 90-real;120. It printed: ${about}")
  endif()
  set(release "${CMAKE_MATCH_1}")
  ladnet_listed_architectures(all "${nvcc}")
  if(NOT all)  # the first releases do not tell
    foreach(first 11.0=80 11.8=90 12.8=100 12.8=120)
      string(REPLACE "=" ";" first "${first}")
      list(GET first 0 since)
      if(release VERSION_GREATER_EQUAL since)
        list(GET first 1 architecture)
        list(APPEND all "${architecture}")
      endif()
    endforeach()
  endif()
  set(known "")
  foreach(architecture 80 90 100 120)
    if(architecture IN_LIST all)
      list(APPEND known "${architecture}-real")
    endif()
  endforeach()
  if(NOT known)
    message(FATAL_ERROR "${nvcc} is of CUDA ${release}; 11.0 is the oldest that knows sm_80, and this one "
      "knows none of sm_80, 90, 100 and 120. Install another CUDA toolkit and put its nvcc into CUDACXX, "
      "choose LADNET_BUILD=cpu, or name GPUs from sm_80 on with LADNET_CUDA_ARCHS")
  endif()
  list(TRANSFORM known REPLACE "^100-real$" "100")
  list(TRANSFORM known REPLACE "-real$" "" AT -1)
  message(STATUS "nvcc of CUDA ${release}: compiling for ${known}")
  set(${result} "${known}" PARENT_SCOPE)
endfunction()

# ladnet_check_architectures(ARCHITECTURES NVCC): ends the build where the user has named GPUs that the
# kernels are not for, or that this nvcc does not know.
function(ladnet_check_architectures architectures nvcc)
  ladnet_listed_architectures(all "${nvcc}")
  foreach(entry IN LISTS architectures)
    string(REGEX MATCH "^[0-9]+" number "${entry}")
    if(number AND number LESS 80)
      message(FATAL_ERROR "LADNET_CUDA_ARCHS names ${entry}: the kernels need GPUs from sm_80 on. Older ones "
        "have PyTorch's operators: choose LADNET_BUILD=cpu")
    elseif(number AND all AND NOT number IN_LIST all)
      list(JOIN all ", " listed)
      message(FATAL_ERROR "LADNET_CUDA_ARCHS names ${entry}, and ${nvcc} compiles for ${listed}: leave it "
        "out, or put the nvcc of another CUDA toolkit into CUDACXX")
    endif()
  endforeach()
endfunction()

# ladnet_listed_architectures(RESULT NVCC): what nvcc says that it compiles for; empty if it does not tell.
function(ladnet_listed_architectures result nvcc)
  execute_process(COMMAND "${nvcc}" --list-gpu-code OUTPUT_VARIABLE listed RESULT_VARIABLE failed ERROR_QUIET)
  string(REGEX MATCHALL "sm_[0-9]+" known "${listed}")
  if(failed)
    set(known "")
  endif()
  list(TRANSFORM known REPLACE "sm_" "")
  set(${result} "${known}" PARENT_SCOPE)
endfunction()
