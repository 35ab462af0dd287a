# Which GPUs the CUDA module is compiled for where nobody has said (LADNET_CUDA_ARCHS).
#
# ladnet_cuda_architectures(RESULT NVCC): sets RESULT to those of sm_80, 90, 100 and 120 that this nvcc
# knows, machine code for each and the PTX of the newest one, which serves newer GPUs.
function(ladnet_cuda_architectures result nvcc)
  execute_process(COMMAND "${nvcc}" --version OUTPUT_VARIABLE about COMMAND_ERROR_IS_FATAL ANY)
  if(NOT about MATCHES "release ([0-9]+\\.[0-9]+)")
    message(FATAL_ERROR "${nvcc} --version names no release of CUDA; name the GPUs with "
      "LADNET_CUDA_ARCHS, e.g. 90-real;120. It printed: ${about}")
  endif()
  set(release "${CMAKE_MATCH_1}")
  if(release VERSION_LESS 11.0)
    message(FATAL_ERROR "${nvcc} is of CUDA ${release}; 11.0 is the oldest that knows sm_80. Install "
      "a newer CUDA toolkit and put its nvcc into CUDACXX, or choose LADNET_BUILD=cpu")
  elseif(release VERSION_LESS 11.8)
    set(known "80")
  elseif(release VERSION_LESS 12.8)
    set(known "80-real;90")
  else()
    set(known "80-real;90-real;100-real;120")
  endif()
  message(STATUS "nvcc of CUDA ${release}: compiling for ${known}")
  set(${result} "${known}" PARENT_SCOPE)
endfunction()
