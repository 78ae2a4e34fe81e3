#include "services/common/grpc/reflection_handler.h"

#include <google/protobuf/descriptor.h>
#include <google/protobuf/descriptor.pb.h>

#include <set>

#include "absl/strings/str_cat.h"
#include "grpc/reflection/v1/reflection.pb.h"
#include "grpc/reflection/v1alpha/reflection.pb.h"

namespace fulmar::common {
namespace {

using google::protobuf::Descriptor;
using google::protobuf::DescriptorPool;
using google::protobuf::FieldDescriptor;
using google::protobuf::FileDescriptor;

const DescriptorPool& Pool() { return *DescriptorPool::generated_pool(); }

template <class Response>
void NotFound(const std::string& what, Response* response) {
  response->mutable_error_response()->set_error_code(static_cast<int>(grpc::StatusCode::NOT_FOUND));
  response->mutable_error_response()->set_error_message(absl::StrCat(what, " is not known here"));
}

// A file and what it imports, imports first.
void AddFile(const FileDescriptor& file, std::set<const FileDescriptor*>& seen, std::vector<const FileDescriptor*>& files) {
  if (!seen.insert(&file).second) return;
  for (int i = 0; i < file.dependency_count(); ++i) AddFile(*file.dependency(i), seen, files);
  files.push_back(&file);
}

template <class Response>
void AnswerFile(const FileDescriptor* file, const std::string& asked, Response* response) {
  if (file == nullptr) return NotFound(asked, response);
  std::set<const FileDescriptor*> seen;
  std::vector<const FileDescriptor*> files;
  AddFile(*file, seen, files);
  auto* answer = response->mutable_file_descriptor_response();
  for (auto it = files.rbegin(); it != files.rend(); ++it) {  // the one asked for comes first
    google::protobuf::FileDescriptorProto proto;
    (*it)->CopyTo(&proto);
    (*it)->CopyJsonNameTo(&proto);
    answer->add_file_descriptor_proto(proto.SerializeAsString());
  }
}

template <class Request, class Response>
void Answer(const std::vector<std::string>& names, const Request& request, Response* response) {
  response->Clear();
  response->set_valid_host(request.host());
  *response->mutable_original_request() = request;
  switch (request.message_request_case()) {
    case Request::kFileByFilename: return AnswerFile(Pool().FindFileByName(request.file_by_filename()), request.file_by_filename(), response);
    case Request::kFileContainingSymbol:
      return AnswerFile(Pool().FindFileContainingSymbol(request.file_containing_symbol()), request.file_containing_symbol(), response);
    case Request::kFileContainingExtension: {
      const auto& asked = request.file_containing_extension();
      const Descriptor* type = Pool().FindMessageTypeByName(asked.containing_type());
      const FieldDescriptor* extension = type == nullptr ? nullptr : Pool().FindExtensionByNumber(type, asked.extension_number());
      return AnswerFile(extension == nullptr ? nullptr : extension->file(), asked.containing_type(), response);
    }
    case Request::kAllExtensionNumbersOfType: {
      const Descriptor* type = Pool().FindMessageTypeByName(request.all_extension_numbers_of_type());
      if (type == nullptr) return NotFound(request.all_extension_numbers_of_type(), response);
      std::vector<const FieldDescriptor*> extensions;
      Pool().FindAllExtensions(type, &extensions);
      response->mutable_all_extension_numbers_response()->set_base_type_name(request.all_extension_numbers_of_type());
      for (const FieldDescriptor* extension : extensions) response->mutable_all_extension_numbers_response()->add_extension_number(extension->number());
      return;
    }
    case Request::kListServices:
      for (const std::string& name : names) response->mutable_list_services_response()->add_service()->set_name(name);
      return;
    default:
      response->mutable_error_response()->set_error_code(static_cast<int>(grpc::StatusCode::INVALID_ARGUMENT));
      response->mutable_error_response()->set_error_message("the request asks nothing");
  }
}

// One stream: a question, its answer, the next question.
template <class Request, class Response>
class Conversation final : public ServerStream<Request, Response> {
 public:
  Conversation(ServerCall& call, const std::vector<std::string>& names) : ServerStream<Request, Response>(call), names_(names) { this->StartRead(&request_); }
  void OnReadDone(bool ok) override {
    if (!ok) return this->Finish(grpc::Status::OK);
    Answer(names_, request_, &response_);
    this->StartWrite(response_);
  }
  void OnWriteDone(bool ok) override {
    if (ok) this->StartRead(&request_);
    else this->Finish(grpc::Status::CANCELLED);
  }
  void OnCancel() override { this->Finish(grpc::Status::CANCELLED); }
  void OnDone() override { delete this; }

 private:
  const std::vector<std::string>& names_;
  Request request_;
  Response response_;
};

template <class Request, class Response>
class Reflection final : public RpcService {
 public:
  Reflection(std::string name, const std::vector<std::string>& names) : RpcService(std::move(name)), names_(names) {
    AddBidi("ServerReflectionInfo", &Reflection::ServerReflectionInfo);
  }
  void ServerReflectionInfo(ServerCall* call) { new Conversation<Request, Response>(*call, names_); }

 private:
  const std::vector<std::string>& names_;
};

}  // namespace

std::unique_ptr<RpcService> MakeReflectionV1(const std::vector<std::string>& names) {
  namespace v1 = grpc::reflection::v1;
  return std::make_unique<Reflection<v1::ServerReflectionRequest, v1::ServerReflectionResponse>>("grpc.reflection.v1.ServerReflection", names);
}

std::unique_ptr<RpcService> MakeReflectionV1Alpha(const std::vector<std::string>& names) {
  namespace v1alpha = grpc::reflection::v1alpha;
  return std::make_unique<Reflection<v1alpha::ServerReflectionRequest, v1alpha::ServerReflectionResponse>>("grpc.reflection.v1alpha.ServerReflection",
                                                                                                           names);
}

}  // namespace fulmar::common
