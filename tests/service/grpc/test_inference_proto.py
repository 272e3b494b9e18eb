"""Field numbers of inference.proto, which every client has compiled in."""

import pytest

from service.grpc.messages import inference_pb2 as pb

NUMBERS = {
    "InferParameter": "bool_param 1 int64_param 2 string_param 3 double_param 4 uint64_param 5",
    "InferTensorContents": "bool_contents 1 int_contents 2 int64_contents 3 uint_contents 4 "
    "uint64_contents 5 fp32_contents 6 fp64_contents 7 bytes_contents 8",
    "ModelInferRequest": "model_name 1 model_version 2 id 3 parameters 4 inputs 5 outputs 6 "
    "raw_input_contents 7",
    "ModelInferResponse": "model_name 1 model_version 2 id 3 parameters 4 outputs 5 raw_output_contents 6",
    "ModelReadyRequest": "name 1 version 2",
    "ServerMetadataResponse": "name 1 version 2 extensions 3",
    "ModelMetadataResponse": "name 1 versions 2 platform 3 inputs 4 outputs 5",
    "ModelStatistics": "name 1 version 2 last_inference 3 inference_count 4 execution_count 5 "
    "inference_stats 6 batch_stats 7",
    "InferStatistics": "success 1 fail 2 queue 3 compute_input 4 compute_infer 5 compute_output 6 "
    "cache_hit 7 cache_miss 8",
    "InferBatchStatistics": "batch_size 1 compute_input 2 compute_infer 3 compute_output 4",
    "ModelRepositoryParameter": "bool_param 1 int64_param 2 string_param 3 bytes_param 4",
    "RepositoryIndexRequest": "repository_name 1 ready 2",
    "RepositoryModelLoadRequest": "repository_name 1 model_name 2 parameters 3",
    "RepositoryModelUnloadRequest": "repository_name 1 model_name 2 parameters 3",
    "ModelConfig": "name 1 platform 2 version_policy 3 max_batch_size 4 input 5 output 6 instance_group 7 "
    "default_model_filename 8 dynamic_batching 11 parameters 14 backend 17",
    "ModelInput": "name 1 data_type 2 dims 4",
    "ModelOutput": "name 1 data_type 2 dims 3",
    "ModelInstanceGroup": "name 1 count 2 kind 4",
}
"""Fields and their numbers as tritonclient 2.73 has them, and kserve 0.21 where it has the message."""


@pytest.mark.parametrize("message", NUMBERS)
def test_field_numbers_are_those_of_the_protocol(message: str) -> None:
    fields = pb.DESCRIPTOR.message_types_by_name[message].fields

    assert " ".join(f"{field.name} {field.number}" for field in fields) == NUMBERS[message]
